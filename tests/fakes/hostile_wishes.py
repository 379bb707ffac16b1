"""What people, and those who mean no good, type behind `/imagine`, and what is said to it: the same on every network."""

QUEUED = ""

WISHES: list[tuple[str, str]] = [
    # brackets and weights beyond all bounds are drawn as far as they can be
    ("((((((((a))))))))", QUEUED),
    ("(" * 3000 + "a", QUEUED),
    ("(a:1e999) (b:nan) (c:-inf) (d:99999)", QUEUED),
    ("[a:b:0.5]" * 300, QUEUED),
    ("[[a:b:0.5]:[c|d]:0.2]" * 100, QUEUED),
    # networks
    ("a <lora:../../x:1>", "can not be the name of a LoRA"),
    ("a <lora:a:1e9>", "is out of range"),
    ("a <lora:a:1>" * 300, "more than 20 LoRAs and hypernetworks"),
    ("a <lora:storm:0.8> <hypernet:gold>", "There is no LoRA called `storm`. There is no LoRA installed yet."),
    # choices
    ("{a|b}" * 20, QUEUED),
    ("__gone__", "There is no wildcard called `gone`"),
    ("__../../etc/passwd__", "can not be the name of a wildcard"),
    ("{" * 20 + "a|b" + "}" * 20, QUEUED),
    ("{a|" * 20 + "b" + "}" * 20, "more than 10 deep"),
    ("{a, b|c}", "has both `,` and `|`"),
    ("{a,b}" * 40, "at most 10 are made at once"),
    # numbers
    ("a --steps -1", "`steps` must be a whole number from 1 to 150, not `-1`."),
    ("a --steps 0", "`steps` must be a whole number from 1 to 150"),
    ("a --steps 1000000000", "`steps` must be a whole number from 1 to 150"),
    ("a --steps 0x1", "`steps` must be a whole number from 1 to 150"),
    ("a --steps １２", "`steps` must be a whole number from 1 to 150"),
    ("a --cfg nan", "`cfg` must be a number from 1 to 30"),
    ("a --cfg inf", "`cfg` must be a number from 1 to 30"),
    ("a --size 65536x64", "`size` must be 64 to 2048 pixels each way"),
    ("a --size 64x7", "`size` must be 64 to 2048 pixels each way"),
    ("a --size -8x64", "`size` must look like 512x768 or 3:2"),
    ("a --count １２", "`count` must be a whole number from 1 to 10, not `１２`."),
    ("a --count 1000", "`count` must be a whole number from 1 to 10"),
    ("a --seed 18446744073709551616", "`seed` must be a whole number from -1 to 4294967295"),
    ("a --seed 4294967296", "`seed` must be a whole number from -1 to 4294967295, not `4294967296`."),
    ("a --seed -1", QUEUED),
    ("a --seed −1", QUEUED),
    ("a --strength 2", "`strength` must be a number from 0 to 1, not `2`."),
    ("a --strength 0.5", "`strength` needs a picture"),
    ("a --vary 1.5", "`vary` must be a number from 0 to 1"),
    ("a --hires 9", "`hires` must be a number from 1 to 4"),
    ("a --hires --tile", QUEUED),
    ("a --rng gpu", "`rng` must be cpu or nv"),
    ("a --xy steps:0,1", "`steps` must be a whole number from 1 to 150"),
    ("a --xy steps:1,2,3,4,5,6,7 cfg:1,2,3,4,5,6", "at most 36 fit on a sheet"),
    # what is meant by it
    ("--steps 5", "Please say what the picture should show, for example `/imagine a red apple`."),
    ("a --checkpoint easel-dmeo", "There is no checkpoint called `easel-dmeo`. Did you mean `easel-demo`?"),
    ("a --checkpoint ../../etc/passwd", "There is no checkpoint called"),
    ("a --sampler Eular\u00a0a", "Did you mean `Euler a`"),
    ("a --stepz 5", "There is no option `--stepz`. Did you mean `--steps`?"),
    ("a --width=1024 --width=99999", "There is no option `--width`."),
    ("a --cfg", "`--cfg` needs a value, for example `--cfg 1`."),
    # spellings
    ("a --steps=5 --steps=6", "`steps` is given twice"),
    ("a --size=1024x1024 --ar 3:2", "`size` is given twice"),
    ("a —steps 5 –cfg 7 --neg “rain, fog”", QUEUED),
    ("a --neg “rain -- fog”", QUEUED),
    ("a --style oil", "There is no style called `oil`. There is no style installed yet."),
    ("a --upscaler Lanczos", "it needs `hires` or `upscale`"),
    # work
    ("a --size 2048x2048 --steps 150 --count 10", "times as much work as I do for one request"),
    ("a --size 1024x1024 --steps 40 --count 10 --sampler Heun", "times as much work"),
    ("a --size 1024x1024 --steps 40 --hires 2 --count 10", "times as much work"),
    ("a {1,2,3,4,5,6,7,8,9,10} --size 1024x1024 --steps 60", "times as much work"),
    ("a --size 1024x1024 --xy steps:20,150 seed:1,2,3,4,5", "times as much work"),
]
"""(words, what the sentence holds)."""
