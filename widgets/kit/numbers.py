"""Numbers are written and read the same in every locale: a point, no grouping.

They are those of settings files, commands and papers; a comma that is read as a point here and as
a separator of thousands there would be a wrong number.
"""

from __future__ import annotations

from PySide6.QtCore import QLocale, QObject
from PySide6.QtGui import QDoubleValidator

# Widgets hand their locale on to what is inside them: a form sets it once.
POINT = QLocale(QLocale.Language.C)


def number_validator(low: float, high: float, parent: QObject) -> QDoubleValidator:
    """Make a validator of decimals from ``low`` to ``high``, such as 0.5 and 1e-05."""
    validator = QDoubleValidator(low, high, -1, parent)
    validator.setNotation(QDoubleValidator.Notation.ScientificNotation)
    validator.setLocale(POINT)
    return validator


def number_text(value: float) -> str:
    """Write ``value`` in as few digits as read back to it."""
    return repr(float(value)).removesuffix(".0")
