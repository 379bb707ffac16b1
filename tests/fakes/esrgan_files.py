"""Enlargers as they were first published: nested sequences whose names are the keys of the old files."""

import re

import torch
from torch import Tensor, nn

FEATURES, GROWTH = 8, 4


class _Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for n in range(5):
            layers: list[nn.Module] = [
                nn.Conv2d(FEATURES + n * GROWTH, FEATURES if n == 4 else GROWTH, 3, 1, 1, bias=True)
            ]
            if n < 4:
                layers.append(nn.LeakyReLU(0.2, inplace=False))
            self.add_module(f"conv{n + 1}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.get_submodule("conv1")(x)
        x2 = self.get_submodule("conv2")(torch.cat((x, x1), 1))
        x3 = self.get_submodule("conv3")(torch.cat((x, x1, x2), 1))
        x4 = self.get_submodule("conv4")(torch.cat((x, x1, x2, x3), 1))
        x5: Tensor = self.get_submodule("conv5")(torch.cat((x, x1, x2, x3, x4), 1))
        return x5.mul(0.2) + x


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.RDB1, self.RDB2, self.RDB3 = _Dense(), _Dense(), _Dense()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.RDB3(self.RDB2(self.RDB1(x)))
        return out.mul(0.2) + x


class _Shortcut(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.sub = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.sub(x)
        return out


class OldEsrgan(nn.Module):
    """`doublings` of 0, 1 and 2 enlarge by 1, 2 and 4; `channels` is 12 or 48 behind a pixel unshuffle."""

    def __init__(self, doublings: int, *, channels: int = 3, blocks: int = 2, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trunk = nn.Sequential(*(_Residual() for _ in range(blocks)), nn.Conv2d(FEATURES, FEATURES, 3, 1, 1))
            layers: list[nn.Module] = [nn.Conv2d(channels, FEATURES, 3, 1, 1), _Shortcut(trunk)]
            for _ in range(doublings):
                layers += [
                    nn.Upsample(scale_factor=2.0, mode="nearest"),
                    nn.Conv2d(FEATURES, FEATURES, 3, 1, 1),
                    nn.LeakyReLU(0.2),
                ]
            layers += [nn.Conv2d(FEATURES, FEATURES, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(FEATURES, 3, 3, 1, 1)]
            self.model = nn.Sequential(*layers)
        self.doublings = doublings
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return out


def new_names(old: OldEsrgan) -> dict[str, Tensor]:
    """Return the weights as Real-ESRGAN names them."""
    return _named(old, "body.{}.rdb{}.conv{}", "conv_body", "conv_up{}", "conv_hr")


def middle_names(old: OldEsrgan) -> dict[str, Tensor]:
    """Return the weights as the second ESRGAN repository named them."""
    return _named(old, "RRDB_trunk.{}.RDB{}.conv{}", "trunk_conv", "upconv{}", "HRconv")


def _named(old: OldEsrgan, dense: str, trunk: str, up: str, large: str) -> dict[str, Tensor]:
    heads = {"model.0": "conv_first"}
    for n in range(old.doublings):
        heads[f"model.{3 * n + 3}"] = up.format(n + 1)
    heads[f"model.{3 * old.doublings + 2}"] = large
    heads[f"model.{3 * old.doublings + 4}"] = "conv_last"
    renamed = {}
    for name, weight in old.state_dict().items():
        layer, kind = name.rsplit(".", 1)
        inner = re.fullmatch(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0", layer)
        renamed[f"{dense.format(*inner.groups()) if inner else heads.get(layer, trunk)}.{kind}"] = weight
    return renamed
