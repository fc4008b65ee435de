"""Tools around analog models; the plots of `utils.visualization` need the extra `plot` (matplotlib)."""
