"""The package's closed forms and simulations against a folder of reference tables."""
