"""The painting side: claims jobs, runs diffusion, and posts what came of them."""
