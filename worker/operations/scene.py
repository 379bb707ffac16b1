"""What is repainted behind a mask: the picture, its mask, and how both fit into the frame that is drawn."""

from dataclasses import dataclass

from PIL import Image, ImageChops, ImageOps

from easel.errors import BadValue
from easel.jobs import Canvas, ImageRequest
from worker.operations.frame import PLAIN, SMOOTH, Size, View, cropped_to, region_around, same_shape
from worker.operations.masks import binary, blurred, filled, grown

MOST = 2048
"""Pixels on a side of a picture that is drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Pictures of one size, each seen through the same view."""

    picture: Image.Image
    """RGB, without holes."""
    mask: Image.Image
    """White is painted anew, black is held."""
    blend: Image.Image
    """How much of the painting is taken over, from black (none of it) to white."""
    view: View

    def put_back(self, painted: Image.Image) -> Image.Image:
        """Return the picture with the painting where it is wanted; what `blend` has black is untouched."""
        return Image.composite(self.view.put_back(painted, self.picture), self.picture, self.blend)


@dataclass(frozen=True, slots=True, eq=False)
class _Layers:
    """A picture and what is said about each of its pixels, all of one size."""

    picture: Image.Image
    holes: Image.Image
    """White where there is no picture."""
    mask: Image.Image
    """White where the asker wants another picture."""

    def at(self, size: Size) -> "_Layers":
        return _Layers(
            cropped_to(self.picture, size), cropped_to(self.holes, size, PLAIN), cropped_to(self.mask, size, PLAIN)
        )

    def on(self, canvas: Canvas) -> "_Layers":
        """Shrink everything by the zoom and put it into the middle of its old place, with more room on the sides."""
        width, height = self.picture.size
        size = (width + canvas.left + canvas.right, height + canvas.top + canvas.bottom)
        inner = (max(1, round(width / canvas.zoom)), max(1, round(height / canvas.zoom)))
        place = (canvas.left + (width - inner[0]) // 2, canvas.top + (height - inner[1]) // 2)

        def spread(layer: Image.Image, ground: int, resample: Image.Resampling) -> Image.Image:
            sheet = Image.new(layer.mode, size, ground)
            sheet.paste(layer if layer.size == inner else layer.resize(inner, resample), place)
            return sheet

        return _Layers(spread(self.picture, 0, SMOOTH), spread(self.holes, 255, PLAIN), spread(self.mask, 0, PLAIN))


def on_paper(image: Image.Image) -> Image.Image:
    """Return the picture in RGB, what is transparent being white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    drawn = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB")


def _grey(mask: Image.Image) -> Image.Image:
    """Return the mask in grey, what is transparent being black."""
    if not mask.has_transparency_data:
        return mask.convert("L")
    drawn = mask.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", drawn.size, "black"), drawn).convert("L")


def canvas_size(request: ImageRequest) -> Size:
    """Return the size of the picture with the room that is asked for; raises BadValue where that is none, or too much."""
    canvas = request.canvas
    if canvas is None:
        return request.width, request.height
    if canvas == Canvas():
        raise BadValue("There is no room to paint: say on which sides, or how far to zoom out.")
    size = (request.width + canvas.left + canvas.right, request.height + canvas.top + canvas.bottom)
    if max(size) > MOST:
        raise BadValue(f"The picture would become {size[0]}x{size[1]}; at most {MOST}x{MOST} can be drawn.")
    return size


def scene_of(request: ImageRequest, image: Image.Image, mask: Image.Image | None) -> Scene | None:
    """Return what is to be repainted, None where neither mask, transparency nor canvas says that a part is.

    `request.width` and `height` are the picture's before the canvas adds room. Raises BadValue for a mask that is
    empty or of another shape than the picture.
    """
    layers = _layers(image, mask)
    size = canvas_size(request)
    if request.canvas is not None:
        layers = layers.at((request.width, request.height)).on(request.canvas)
    elif request.mask_padding is None:
        layers = layers.at(size)
    missing, wanted = binary(layers.holes), binary(layers.mask)
    if not missing.getbbox() and not wanted.getbbox():
        if mask is None:
            return None
        raise BadValue("The mask is empty. Please paint white what should change.")
    picture = layers.picture
    if missing.getbbox():
        picture = filled(picture, layers.holes, request.seed)
    blend = _blend(layers, wanted, request.mask_blur)
    region = (0, 0, *picture.size)
    if request.mask_padding is not None and request.canvas is None:
        # A thin line may be blurred away altogether.
        region = region_around(ImageChops.lighter(blend, wanted), size, request.mask_padding)
    # What is continued from the edge of a hole is painted over a little way into the picture, to hide the seam.
    painted = ImageChops.lighter(wanted, grown(missing, request.mask_blur))
    return Scene(picture, painted, blend, View.of(region, size))


def _layers(image: Image.Image, mask: Image.Image | None) -> _Layers:
    black = Image.new("L", image.size, 0)
    if mask is not None:
        return _Layers(on_paper(image), black, same_shape(_grey(mask), image.size))
    if not image.has_transparency_data:
        return _Layers(image.convert("RGB"), black, black)
    holes = ImageOps.invert(image.convert("RGBA").getchannel("A"))
    if not binary(holes).getbbox():
        return _Layers(on_paper(image), black, black)
    return _Layers(image.convert("RGBA").convert("RGB"), holes, black)


def _blend(layers: _Layers, wanted: Image.Image, blur: int) -> Image.Image:
    """Return soft edges around what is wanted; around holes they lie outside, as nothing of a hole may be kept."""
    soft = blurred(wanted, blur)
    if not layers.holes.getbbox():
        return soft
    seam = blurred(grown(binary(layers.holes), 2 * blur), blur)
    return ImageChops.lighter(soft, ImageChops.lighter(seam, layers.holes))
