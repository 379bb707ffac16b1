"""The painting itself: the denoise loop that many jobs share, and the way from latents to pixels."""
