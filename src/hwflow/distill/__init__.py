"""Layer-wise distillation: replacement operations trained and scored, site by site."""
