import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from unibind.errors import InvalidInputError
from unibind.modalities.image import IMAGE, MAX_PIXELS, MAX_SIDE, accept, read

LOSSLESS = ("PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP")


def encoded(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def drawing(height=24, width=40, seed=0):
    """Soft colours, different in every corner."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, *, bits=8, colour=2, chunks=(), rows=b""):
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_lossless_file_gives_back_its_pixels(kind):
    pixels = np.where(drawing() > 128, 255, 0).astype(np.uint8)  # few colours, for GIF
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(read(encoded(Image.fromarray(pixels), kind, **options)), pixels)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000", "AVIF"])
def test_a_lossy_file_gives_nearly_its_pixels(kind):
    pixels = drawing()
    item = read(encoded(Image.fromarray(pixels), kind, quality=95))
    assert item.shape == pixels.shape
    assert np.abs(item.astype(int) - pixels).mean() < 4


def test_an_item_is_writable_contiguous_uint8():
    item = read(encoded(Image.fromarray(drawing()), "PNG"))
    assert item.dtype == np.uint8
    assert item.flags.c_contiguous
    assert item.flags.writeable


def test_one_pixel_is_a_picture():
    np.testing.assert_array_equal(read(png(1, 1, rows=b"\0\x0a\x14\x1e")), [[[10, 20, 30]]])


def test_one_bit_is_black_and_white():
    pixels = np.array([[True, False, True]])
    np.testing.assert_array_equal(
        read(encoded(Image.fromarray(pixels), "PNG"))[:, :, 0], [[255, 0, 255]]
    )


def test_grey_has_three_equal_channels():
    grey = drawing()[:, :, 0]
    item = read(encoded(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(item, np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_and_not_cut_off(kind):
    samples = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
    expected = np.round(samples / 65535 * 255)
    item = read(encoded(Image.fromarray(samples), kind))
    np.testing.assert_array_equal(item[:, :, 0], expected)


def test_16_bit_colour_is_scaled():
    samples = np.array([[[0, 257 * 7, 65535]]], dtype=">u2")
    item = read(png(1, 1, bits=16, rows=b"\0" + samples.tobytes()))
    np.testing.assert_array_equal(item, [[[0, 7, 255]]])


def test_32_bit_samples_beyond_16_bits_are_refused():
    samples = np.array([[0, 70_000]], dtype=np.int32)
    with pytest.raises(InvalidInputError, match=r"from 0 to 70000.*16 bits"):
        read(encoded(Image.fromarray(samples), "TIFF"))


def test_floating_point_is_scaled_from_0_to_1():
    samples = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    item = read(encoded(Image.fromarray(samples), "TIFF"))
    np.testing.assert_array_equal(item[:, :, 0], [[0, 128, 255]])


def test_floating_point_beyond_1_is_refused():
    samples = np.array([[0.0, 300.0]], dtype=np.float32)
    with pytest.raises(InvalidInputError, match=r"from 0 to 300"):
        read(encoded(Image.fromarray(samples), "TIFF"))


def test_a_palette_is_looked_up():
    picture = Image.new("P", (2, 1))
    picture.putpalette([9, 8, 7, 250, 251, 252])
    picture.putdata([0, 1])
    np.testing.assert_array_equal(read(encoded(picture, "PNG")), [[[9, 8, 7], [250, 251, 252]]])


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_a_transparent_palette_colour_becomes_white(transparency):
    picture = Image.new("P", (2, 1))
    picture.putpalette([9, 8, 7, 0, 0, 0])
    picture.putdata([0, 1])
    content = encoded(picture, "PNG", transparency=transparency)
    np.testing.assert_array_equal(read(content), [[[9, 8, 7], [255, 255, 255]]])


def test_a_transparent_colour_of_an_opaque_mode_becomes_white():
    content = encoded(
        Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)), "PNG", transparency=(4, 5, 6)
    )
    np.testing.assert_array_equal(read(content), [[[1, 2, 3], [255, 255, 255]]])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(mode):
    rgba = np.dstack([drawing()[:, :, :1]] * 3 + [drawing(seed=1)[:, :, :1]])
    share = rgba[:, :, 3:] / 255
    expected = rgba[:, :, :3] * share + 255 * (1 - share)
    item = read(encoded(Image.fromarray(rgba).convert(mode), "PNG"))
    np.testing.assert_allclose(item, expected, atol=1.01)


def test_alpha_is_laid_over_white_in_a_reduced_picture_too():
    # Hidden colours of transparent pixels must not bleed into their neighbours.
    rgba = np.zeros((4, 2 * MAX_SIDE, 4), np.uint8)
    rgba[:, :MAX_SIDE] = (200, 30, 40, 255)
    item = read(encoded(Image.fromarray(rgba), "PNG"))
    assert item.shape == (2, MAX_SIDE, 3)
    np.testing.assert_array_equal(item[0, MAX_SIDE // 2 - 4], (200, 30, 40))
    np.testing.assert_array_equal(item[0, MAX_SIDE // 2 + 4], (255, 255, 255))
    assert item[:, :, 0].min() >= 199


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        item = read(content)
        assert item.shape == (8, 8, 3), kind
        assert item[4, 4, 0] > 200, kind
        assert item[4, 4, 2] < 50, kind


def test_a_multi_page_tiff_gives_its_first_page():
    pages = [Image.new("RGB", (4, 4), colour) for colour in ("lime", "blue")]
    content = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read(content)[0, 0], [0, 255, 0])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind):
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    content = encoded(cyan, kind)
    # In a JPEG the inks lie inverted, as Adobe's programs write them.
    assert (b"Adobe" in content) == (kind == "JPEG")
    np.testing.assert_allclose(read(content)[8, 8], [0, 255, 255], atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(orientation, kind):
    upright = drawing(40, 64)
    # What each value says: which side of the stored picture the top row and left column are.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    options |= {"lossless": True} if kind == "WEBP" else {}
    item = read(encoded(Image.fromarray(stored.copy()), kind, exif=exif, **options))
    assert item.shape == upright.shape
    assert np.abs(item.astype(int) - upright).mean() < 2


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.parametrize("value", [0, 9, 65535])
def test_a_nonsense_orientation_leaves_the_picture_as_stored(value):
    exif = Image.Exif()
    exif[0x0112] = value
    assert read(encoded(Image.fromarray(drawing()), "JPEG", exif=exif)).shape == (24, 40, 3)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_damaged_exif_block_does_not_cost_the_picture():
    content = encoded(Image.fromarray(drawing()), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read(content).shape == (24, 40, 3)


def test_a_colour_profile_is_left_alone():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    pixels = drawing()
    content = encoded(Image.fromarray(pixels), "PNG", icc_profile=profile)
    np.testing.assert_array_equal(read(content), pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(3000, 1500), (1500, 3000), (1025, 1024)])
def test_a_large_picture_is_reduced_to_the_longest_side(kind, size):
    width, height = size
    pixels = drawing(height, width)
    item = read(encoded(Image.fromarray(pixels), kind))
    assert max(item.shape) == MAX_SIDE
    assert item.shape[0] / item.shape[1] == pytest.approx(height / width, rel=0.01)
    small = Image.fromarray(pixels).resize((item.shape[1], item.shape[0]), Image.Resampling.BICUBIC)
    assert np.abs(item.astype(int) - np.asarray(small)).mean() < 3


def test_a_picture_at_the_longest_side_keeps_its_pixels():
    pixels = drawing(7, MAX_SIDE)
    np.testing.assert_array_equal(read(encoded(Image.fromarray(pixels), "PNG")), pixels)


def test_a_line_one_pixel_high_stays_one_pixel_high():
    assert read(encoded(Image.new("L", (5000, 1)), "PNG")).shape == (1, MAX_SIDE, 3)


def test_an_empty_file_is_refused():
    with pytest.raises(InvalidInputError, match=r"empty \(0 bytes\)"):
        read(b"")


def test_text_named_png_is_told_apart():
    with pytest.raises(InvalidInputError, match=r"not a picture .*text that start with 'hello"):
        read(b"hello, I am a text")


def test_other_bytes_are_shown():
    with pytest.raises(InvalidInputError, match=r"not a picture .*start with 25 50 44 46 00"):
        read(b"%PDF\0 and so on")


@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG", "AVIF", "JPEG2000"])
def test_a_truncated_file_is_refused(kind):
    # Noise, so that the second half is not a few bytes of padding.
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    with pytest.raises(InvalidInputError, match=r"truncated or damaged|not a picture"):
        read(content[: len(content) // 2])


def test_30000_by_30000_is_refused_from_its_header():
    start = time.perf_counter()
    with pytest.raises(InvalidInputError, match=r"too large.*89,478,485 pixels.*reduce"):
        read(png(30_000, 30_000, colour=0, rows=b"\0"))
    assert time.perf_counter() - start < 1  # decoding it would take far longer


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_just_above_the_limit_is_refused_from_its_header():
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(InvalidInputError, match=r"9460 x 9460 px.*89,478,485.*reduce"):
        read(png(side, side, colour=0, rows=b"\0"))


def test_the_limit_holds_where_a_program_lifted_pillows_own(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(InvalidInputError, match=r"30000 x 30000 px"):
        read(png(30_000, 30_000, colour=0, rows=b"\0"))


@pytest.mark.parametrize(
    ("kind", "head"),
    [(b"zTXt", b"Comment\0\0"), (b"iTXt", b"Comment\0\1\0\0\0"), (b"iCCP", b"profile\0\0")],
)
def test_a_bomb_beside_the_pixels_is_refused(kind, head):
    body = head + zlib.compress(bytes(50_000_000), 9)
    with pytest.raises(InvalidInputError, match=r"damaged.*too large"):
        read(png(1, 1, chunks=[chunk(kind, body)], rows=b"\0\1\2\3"))


def test_postscript_is_never_handed_to_an_interpreter():
    with pytest.raises(InvalidInputError, match="not a picture"):
        read(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")


@pytest.mark.filterwarnings("ignore")  # Pillow warns of some damage and goes on
@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG", "AVIF", "JPEG2000", "ICO"])
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_damaged_bytes_give_a_picture_or_the_one_error(kind, data):
    content = bytearray(encoded(Image.fromarray(drawing(16, 16)), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        item = read(bytes(content))
    except InvalidInputError:
        return
    assert item.ndim == 3
    assert item.dtype == np.uint8


def test_uint8_arrays_are_accepted_as_they_are():
    pixels = drawing()
    np.testing.assert_array_equal(accept(pixels), pixels)
    np.testing.assert_array_equal(accept(pixels[::-1]), pixels[::-1])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_point_arrays_are_scaled(dtype):
    pixels = drawing()
    np.testing.assert_allclose(accept((pixels / 255).astype(dtype)), pixels, atol=1)


def test_grey_arrays_get_three_channels():
    grey = drawing()[:, :, 0]
    np.testing.assert_array_equal(accept(grey), accept(grey[:, :, None]))
    assert accept(grey).shape == (24, 40, 3)


def test_a_fourth_channel_is_alpha():
    rgba = np.zeros((1, 2, 4), np.uint8)
    rgba[0, 0, 3] = 255
    np.testing.assert_array_equal(accept(rgba), [[[0, 0, 0], [255, 255, 255]]])


def test_a_pillow_image_is_accepted():
    pixels = drawing()
    np.testing.assert_array_equal(accept(Image.fromarray(pixels)), pixels)
    np.testing.assert_array_equal(accept(Image.fromarray(pixels).convert("RGBA")), pixels)


def test_a_large_array_is_reduced():
    assert accept(drawing(100, 2048)).shape == (50, MAX_SIDE, 3)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.zeros((3, 24, 40), np.uint8), r"\(3, 24, 40\).*moveaxis"),
        (np.zeros((2, 24, 40, 3), np.uint8), "batch.*one by one"),
        (np.zeros((24, 40, 2), np.uint8), r"\(24, 40, 2\)"),
        (np.zeros(5, np.uint8), r"\(5,\)"),
        (np.zeros((0, 5, 3), np.uint8), "5 x 0 px"),
        (np.zeros((4, 4, 3), np.int64), "int64; needed: uint8"),
        (np.zeros((4, 4, 3), bool), "bool; needed: uint8"),
        (np.full((4, 4, 3), np.nan), "NaN"),
        (np.full((4, 4, 3), 255.0), r"from 255 to 255.*\[0, 1\]"),
        (np.full((4, 4, 3), -0.1), r"from -0.1"),
        ("cat.jpg", "got str.*pathlib.Path"),
        (None, "got NoneType"),
    ],
)
def test_other_values_are_refused_with_a_remedy(value, words):
    with pytest.raises(InvalidInputError, match=words):
        accept(value)


def test_a_pillow_image_whose_file_is_truncated_is_refused():
    content = encoded(Image.fromarray(drawing()), "PNG")
    picture = Image.open(io.BytesIO(content[:200]))
    with pytest.raises(InvalidInputError, match=r"mode RGB\) cannot be converted"):
        accept(picture)


def test_an_array_above_the_limit_is_refused():
    flat = np.broadcast_to(np.uint8(0), (9500, 9500, 3))
    with pytest.raises(InvalidInputError, match="9500 x 9500 px"):
        accept(flat)


def test_the_modality_says_what_it_reads():
    assert IMAGE.name == "image"
    assert str(MAX_SIDE) in IMAGE.units
    assert {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tiff"} <= set(IMAGE.suffixes)
    assert not IMAGE.str_is_item


def test_accepting_an_item_changes_nothing():
    item = read(encoded(Image.fromarray(drawing(1300, 900)), "PNG"))
    np.testing.assert_array_equal(accept(item), item)
