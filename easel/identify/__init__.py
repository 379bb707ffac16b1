"""What is this weights file? Told from its header alone: nothing is loaded, nothing in it is run."""
