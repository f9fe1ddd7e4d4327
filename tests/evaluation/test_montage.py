import torch

from anchorweave.evaluation.montage import LABEL_HEIGHT, contact_sheet, side_by_side


def test_tiles_are_enlarged_by_a_whole_factor_and_stand_under_their_labels():
    red = torch.zeros(3, 3, 32, 48)
    red[:, 0] = 1
    montage = side_by_side({"red": red, "black": torch.zeros(3, 3, 32, 48)})
    T, _, height, width = montage.shape
    assert (T, height % 2, width % 2) == (3, 0, 0)
    assert height >= 160 + LABEL_HEIGHT and width >= 2 * 240
    tile = montage[:, :, LABEL_HEIGHT : LABEL_HEIGHT + 160, :240]
    assert (tile[:, 0] == 255).all() and not tile[:, 1:].any()
    # The strip above holds dark letters on white.
    assert montage[0, :, :LABEL_HEIGHT, :240].min() < 128


def test_a_contact_sheet_shows_first_and_last_frame():
    video = torch.linspace(0, 1, 9)[:, None, None, None].expand(9, 3, 160, 200)
    sheet = contact_sheet(side_by_side({"grey": video}), rows=3)
    column = [sheet.getpixel((150, row * sheet.height // 3 + 100))[0] for row in range(3)]
    assert column == [0, 128, 255]
