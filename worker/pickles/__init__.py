"""Turns the weights in old pickles into safetensors, without ever running what else is in them."""
