"""The prompt language, free of torch and of tokens.

A prompt passes these rooms in this order: `text` cleans it, `styles` wraps it, `permute` makes one of each, `expand`
chooses at random, `networks` takes the tags out, `compose` cuts at `AND`, `schedule` says what each step reads, and
`attention` weighs it.
"""
