"""Larger pictures without diffusion: networks of the ESRGAN family, and Lanczos where there is none."""
