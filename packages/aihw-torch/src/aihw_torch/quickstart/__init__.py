"""A first look at analog training: `python -m aihw_torch.quickstart --help`."""
