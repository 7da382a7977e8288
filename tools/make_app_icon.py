"""Draw the application's icon at every size that desktops ask for: PNG files beside its SVG."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QGuiApplication, QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

FOLDER = Path(__file__).parents[1] / "resources" / "app"
SIZES = (16, 32, 48, 64, 128, 256)


def draw(size: int) -> QImage:
    """Return the icon at ``size`` x ``size`` pixels."""
    image = QImage(size, size, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(str(FOLDER / "loopscope.svg")).render(painter, QRectF(0, 0, size, size))
    painter.end()
    return image


if __name__ == "__main__":
    application = QGuiApplication(["make_app_icon"])
    for size in SIZES:
        draw(size).save(str(FOLDER / f"loopscope-{size}.png"))
