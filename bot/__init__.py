"""The doors: Discord, Telegram and the command line; each parses, answers at once and enqueues."""
