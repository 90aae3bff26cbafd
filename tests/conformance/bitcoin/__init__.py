"""Judges real Bitcoin data, published vectors and recorded decisions with our own rules."""
