"""Stability: leading eigenvalues of the Jacobian of one recurrence, and the Lyapunov exponent.

The Jacobian ``J = ∂F/∂s`` is ``n x n`` with ``n = T d`` and is never formed: Arnoldi's iteration
needs only products ``J v``, which forward derivatives give exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import C128, F32, F64
from loopscope.core.formula import Formula
from loopscope.core.measures.fixed_points import FixedPoints
from loopscope.core.results import ResultKey

Product = Callable[[F64], F64]

EIGENVALUE = Formula(
    "λ",
    "leading eigenvalues of J = ∂s_{r+1}/∂s_r, all tokens together",
    "per recurrence",
    "Arnoldi on Jacobian–vector products",
)
EIGEN_RESIDUAL = Formula(
    "residual", "‖J v − λ v‖ / ‖v‖, recomputed for each pair", "per recurrence", "Saad 2011"
)
TOKEN_SPECTRUM = Formula(
    "spectral radius",
    "max_t max |eigenvalues of ∂s_{r+1,t}/∂s_{r,t}|: causal J is block triangular in tokens t",
    "per recurrence",
    "Loopscope; bound on the rounding's effect κ ε ‖J_t‖, Bauer & Fike 1960, Golub & Van Loan 7.2",
)
LYAPUNOV = Formula(
    "Lyapunov exponent",
    "mean of log ‖J_r v‖ / ‖v‖ along the run, v carried on; mean over random v and their range",
    "nats per recurrence",
    "largest exponent, Benettin 1980",
)


@dataclass(frozen=True, slots=True, eq=False)
class Spectrum:
    """Leading eigenpairs, the largest modulus first.

    values : complex128 ``[k]``.  vectors : complex128 ``[k, n]``, unit length.
    residuals : float64 ``[k]``, ``||J v - λ v||``.  products : Jacobian–vector products used.
    tolerance : residual asked for.
    """

    values: C128
    vectors: C128
    residuals: F64
    products: int
    tolerance: float

    @property
    def radius(self) -> float:
        """Spectral radius, the largest modulus."""
        return float(np.abs(self.values).max()) if len(self.values) else float("nan")

    @property
    def converged(self) -> npt.NDArray[np.bool_]:
        """Which pairs reached the tolerance."""
        return np.asarray(self.residuals <= self.tolerance)


@dataclass(frozen=True, slots=True, eq=False)
class TokenSpectrum:
    """All eigenvalues of a block triangular Jacobian, those of its ``T`` diagonal blocks.

    values : complex128 ``[T, d]``, of each token the largest modulus first.
    errors : float64 ``[T, d]``, bound to first order on what the rounding of the blocks' entries
        does to each, ``κ ε ‖J_t‖``; infinite where a block has not d eigenvectors.
    """

    values: C128
    errors: F64

    @property
    def radius(self) -> float:
        """Spectral radius, the largest modulus of any token."""
        return float(np.abs(self.values).max())

    @property
    def error(self) -> float:
        """The bound at the eigenvalue that is the spectral radius."""
        return float(self.errors.flat[np.abs(self.values).argmax()])


# Relative rounding of a float32 derivative through the layers of a block.
DERIVATIVE_ROUNDING = 1e-6


def token_spectrum(blocks: Iterable[F64], rounding: float = DERIVATIVE_ROUNDING) -> TokenSpectrum:
    """Eigenvalues of the diagonal blocks ``∂F_t/∂s_t`` of a causal model's Jacobian.

    A causal model's ``J`` is block triangular in the tokens, so that its spectrum is that of the
    blocks together, however far from normal ``J`` is. An iteration on ``J`` sees the tokens'
    coupling instead, and its residual bounds nothing there.

    Parameters
    ----------
    blocks
        float64 ``[d, d]`` of each token in order.
    rounding
        ``ε``, relative error of a block's entries.
    """
    values, errors = [], []
    for block in blocks:
        if not np.isfinite(block).all():
            values.append(np.full(len(block), np.nan + 0j))
            errors.append(np.full(len(block), np.nan))
            continue
        eigenvalues, right = np.linalg.eig(block)
        order = np.argsort(-np.abs(eigenvalues), kind="stable")
        values.append(eigenvalues[order])
        errors.append(_conditions(right)[order] * rounding * float(np.linalg.norm(block, 2)))
    return TokenSpectrum(np.array(values, np.complex128), np.array(errors))


def _conditions(right: C128) -> F64:
    """Condition ``‖x‖ ‖y‖ / |y* x|`` of each eigenvalue, from its eigenvectors ``x`` in columns."""
    try:
        left = np.linalg.inv(right)
    except np.linalg.LinAlgError:
        return np.full(len(right), np.inf)
    return np.asarray(np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=0))


def leading_eigenvalues(
    product: Product,
    n: int,
    k: int = 6,
    *,
    tolerance: float = 1e-3,
    most: int = 120,
    seed: int = 0,
    report: Callable[[float], None] = lambda share: None,
) -> Spectrum:
    """Find the ``k`` eigenvalues of largest modulus by Arnoldi's iteration.

    Parameters
    ----------
    product
        ``v -> J v``, float64 ``[n] -> [n]``.
    n, k
        Size of the Jacobian, eigenvalues wanted; a complex pair counts as two.
    tolerance
        Residual at which a pair counts as found; the basis grows until all ``k`` are.
    most
        Largest basis.
    seed
        Of the start vector.

    Returns
    -------
    A complex pair is never split: k + 1 values come back where it would be.
    """
    k, most = min(k, n), min(most, n)
    v = np.random.default_rng(seed).normal(size=n)
    basis, h = np.zeros((most + 1, n)), np.zeros((most + 1, most))
    basis[0] = v / np.linalg.norm(v)
    size = 0
    for j in range(most):
        w = product(basis[j])
        if not np.isfinite(w).all():
            break
        scale = float(np.linalg.norm(w))
        for _ in range(2):  # once leaves rounding that spoils the smaller eigenvalues
            c = basis[: j + 1] @ w
            h[: j + 1, j] += c
            w = w - c @ basis[: j + 1]
        size = j + 1
        h[j + 1, j] = np.linalg.norm(w)
        report(0.9 * size / most)
        if h[j + 1, j] <= 1e-12 * max(scale, 1e-300):  # the space is invariant: all is known
            break
        basis[j + 1] = w / h[j + 1, j]
        if size >= max(2 * k, 10) and size % 10 == 0 and _settled(h, size, k, tolerance):
            break
    values, ritz = _leading(h[:size, :size], k)
    vectors = np.asarray(ritz @ basis[:size], dtype=np.complex128)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    residuals = np.array(
        [_residual(product, x, v) for x, v in zip(values, vectors, strict=True)], np.float64
    )
    report(1.0)
    return Spectrum(values, vectors, residuals, size + 2 * len(values), tolerance)


def _leading(h: F64, k: int) -> tuple[C128, C128]:
    """Leading Ritz values of a Hessenberg matrix, ``[k]`` (or k + 1) and their rows ``[k, m]``."""
    values, right = np.linalg.eig(h)
    order = np.argsort(-np.abs(values), kind="stable")
    if k < len(values) and np.isclose(values[order[k]], values[order[k - 1]].conj(), rtol=1e-9):
        k += int(abs(values[order[k]].imag) > 0)
    chosen = order[:k]
    return values[chosen].astype(np.complex128), right[:, chosen].T.astype(np.complex128)


def _settled(h: F64, size: int, k: int, tolerance: float) -> bool:
    """Whether Arnoldi's own estimate of the residuals is below the tolerance."""
    _, rows = _leading(h[:size, :size], k)
    estimate = h[size, size - 1] * np.abs(rows[:, -1]) / np.linalg.norm(rows, axis=1)
    return bool((estimate <= 0.3 * tolerance).all())


def _residual(product: Product, value: complex, vector: C128) -> float:
    image = product(vector.real.copy()) + 1j * product(vector.imag.copy())
    return float(np.linalg.norm(image - value * vector))


def lyapunov_exponents(
    products: Sequence[Product],
    n: int,
    *,
    skip: int = 0,
    starts: int = 4,
    report: Callable[[float], None] = lambda share: None,
) -> F64:
    """`lyapunov_exponent` of several start vectors, float64 ``[starts]``.

    On a path of finite length they differ: none has turned wholly to the direction that grows most.
    """

    def report_one(share: float, i: int = 0) -> None:
        report((i + share) / starts)

    return np.array([
        lyapunov_exponent(products, n, skip=skip, seed=i, report=partial(report_one, i=i))
        for i in range(starts)
    ])  # fmt: skip


def lyapunov_exponent(
    products: Sequence[Product],
    n: int,
    *,
    skip: int = 0,
    seed: int = 0,
    report: Callable[[float], None] = lambda share: None,
) -> float:
    """Largest Lyapunov exponent along a path, nats per recurrence.

    Parameters
    ----------
    products
        ``v -> J_r v`` at each state of the path, in order.
    n
        Length of ``v``.
    skip
        Products at the start that turn ``v`` but are not counted.
    seed, report
        Of the start vector; told the share done after each product, may raise to cancel.

    Returns
    -------
    Mean log growth of ``v``: below 0 perturbations die out, above 0 they grow. NaN with nothing to
    count or a path that is not finite; minus infinity where ``J v`` is 0.
    """
    v = np.random.default_rng(seed).normal(size=n)
    v /= np.linalg.norm(v)
    logs = []
    for i, product in enumerate(products):
        w = product(v)
        report((i + 1) / len(products))
        size = float(np.linalg.norm(w))
        if not np.isfinite(size):
            return float("nan")
        if i >= skip:
            logs.append(np.log(size) if size > 0 else -np.inf)
        if size == 0:
            break
        v = w / size
    return float(np.mean(logs)) if logs else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """Spectrum, fixed points and Lyapunov exponent of a run.

    spectrum : at ``recurrence``.  points : of the search.
    cycles : float32 ``[P, L, T, d]``, the state after each layer at each of them.
    radii, margins : float64 ``[P]``, spectral radius at each fixed point and how far it may be off:
        of the blocks' eigenvalues where they were taken, else the largest residual of Arnoldi's
        pairs, which bounds nothing where J is not normal; NaN at a slow point.
    lyapunov : float64 ``[n]``, nats per recurrence along the run, of n start vectors.
    tokens : exact spectrum at ``recurrence``, or None: of a bidirectional model, or one too large.
    rate : fitted to the run.  recurrence : where the spectrum was taken.  n_recurrences : how far
        the run had gone.
    n_random, warm_up : starts that were random, and recurrences that were run on them first.
    """

    spectrum: Spectrum
    points: FixedPoints
    cycles: F32
    radii: F64
    margins: F64
    lyapunov: F64
    rate: float
    recurrence: int
    n_recurrences: int
    n_random: int = 0
    warm_up: int = 0
    tokens: TokenSpectrum | None = None

    @property
    def radius(self) -> float:
        """Spectral radius at ``recurrence``: exact where there is one, else Arnoldi's estimate."""
        return self.spectrum.radius if self.tokens is None else self.tokens.radius

    @property
    def shown_point(self) -> int:
        """The point that stands for the run: where its end leads to, else the best one."""
        return self.points.from_end if self.points.from_end >= 0 else 0


STABILITY = ResultKey("stability", Stability)
