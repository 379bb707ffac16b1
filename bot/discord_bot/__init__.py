"""Discord: slash commands, completion and buttons over a gateway connection."""
