"""Cost models: the levels of abstraction, from the network alone to the full accelerator."""
