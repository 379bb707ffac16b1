"""Conditioning: from what the prompt says to what the UNet is told at each step."""
