from PIL import Image

from training.loop.history_plot import plot_history

HISTORY = [
    {"epoch": 1, "train_loss": 0.70, "val_loss": 0.69, "val_auc": 0.55, "val_eer": 0.45},
    {"epoch": 2, "train_loss": 0.60, "val_loss": 0.62, "val_auc": 0.75, "val_eer": 0.30},
]


def test_the_picture_is_there_and_follows_the_figures(tmp_path):
    pictures = []
    for n_epochs in (1, 2):
        path = tmp_path / f"{n_epochs}.png"
        plot_history(HISTORY[:n_epochs], path)
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width > picture.height > 200
            pictures.append(picture.tobytes())
    assert pictures[0] != pictures[1]
