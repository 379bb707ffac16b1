"""The Telegram door: long polling, commands and buttons; everything after the placeholder is delivery's."""
