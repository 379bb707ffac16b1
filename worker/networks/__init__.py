"""Networks: LoRAs, hypernetworks and embeddings, put on for one request and taken off without a trace."""
