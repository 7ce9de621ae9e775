"""What runs the other mappers: their inputs, and scripts for inside of their environments."""
