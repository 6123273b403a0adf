"""Displacements -> diffusivity with an interval that knows about overlapping windows and few jumps.

The mean squared displacement (MSD) at many lags, from all overlapping windows, is fitted by
generalised least squares. The covariance of those averages is that of a process with stationary
Gaussian increments, which follows exactly from the MSD itself (for Brownian motion: H. Qian, M. P.
Sheetz and E. L. Elson, Biophys. J. 60, 910 (1991)), plus what single jumps add: their fourth
cumulant, read off the displacements, so that few jumps give wide intervals. Ions that move in
concert count as fewer.

What is fitted is MSD(t) = 6 D t + c + b [1 - exp(-t / tau)]: diffusion, vibration (c) and what
stays within a cage (b >= 0, forgotten after tau). A walk without memory (b = 0, c near 0), a
straight line (b = 0) and cages of many tau are averaged with their posterior probabilities, because
a line alone, started where its misfit no longer shows, takes the end of the caging for diffusion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ionbridge.structures.transport.closed_forms import msd_to_diffusivity

N_LAGS = 12
"""Lags of the fit, on a logarithmic scale."""
LONGEST_LAG, LATEST_ONSET, LONGEST_CAGE = 0.5, 0.2, 0.5
"""Longest lag, latest first lag and longest tau of the fit, of the trajectory's length."""
AGREEMENT = 0.1
"""The fit starts at the first lag from which chance alone would give a worse one this often."""
DISAGREEMENT = 0.001
"""A fit that chance alone hardly explains, from whichever lag, is none."""
WALK_PRIOR, STRAIGHT_PRIOR = 0.3, 0.56
"""Probabilities before looking of a walk without memory from the first frame on, and of a straight
line; the rest is even over log tau."""
WALK_OFFSET = 0.02
"""Scale of c of a walk without memory, of the MSD at the first lag: noise of the frame of reference
alone."""
N_CAGE_TIMES = 12
CAGE_PRIOR_A2 = 6.0
"""Scale of b (half a Gaussian) and c before looking: what to and fro over 3.5 angstrom gives,
a^2 / 2."""
CURVE_PRIOR = np.array(
    [
        WALK_PRIOR,
        STRAIGHT_PRIOR,
        *[(1 - WALK_PRIOR - STRAIGHT_PRIOR) / N_CAGE_TIMES] * N_CAGE_TIMES,
    ]
)
DOUBT_OF_TRACER = 0.1
"""How far the ions' sum may differ from the ions in its cages, before looking."""
N_ITERATIONS = 3
N_DRAWS = 8000
CONFIDENCE = 0.95
MOST_DOUBT, MOST_DOUBT_OF_SUM, WIDEST_INTERVAL = (1 - CONFIDENCE) / 2, 0.01, 30.0
"""No value is quoted if D <= 0 is likelier than this, of the ions and of their sum, a single walker
that says less; or if upper over lower end is larger."""
NO_MOTION_A2 = 1e-9
MAX_FRAMES = 3000
"""More frames are thinned: neighbouring ones hold no new information on diffusion."""
LEAST_FREEDOM = 8.0
"""Slopes with less are drawn from a Gaussian cut off at zero."""
TINY = 1e-300
LEAST_SLOPE = 1e-3
"""The covariance is made for at least this slope, of MSD over lag at the onset."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Diffusivity:
    """A diffusivity from displacements.

    Attributes:
        value_cm2_s: D in cm^2/s, median of the posterior; ``nan`` where none can be quoted.
        lower_cm2_s: Lower end of the 95 % interval.
        upper_cm2_s: Upper end of the 95 % interval; also given where no value can be quoted.
        onset: First lag of the fit, in frames.
        curve_weights: (2 + N_CAGE_TIMES,) posterior probabilities of a walk without memory, of a
            straight line, and of cages with rising memory.
        lags_ps: (n,) lags of the fit.
        msd_A2: (n,) MSD at those lags.
        msd_std_A2: (n,) their standard deviations.
        fit_A2: (n,) the likeliest curve.
        reason: Why no value can be quoted; empty where one is.
    """

    value_cm2_s: float
    lower_cm2_s: float
    upper_cm2_s: float
    onset: int
    curve_weights: Floats
    lags_ps: Floats
    msd_A2: Floats
    msd_std_A2: Floats
    fit_A2: Floats
    reason: str = ""

    @property
    def log10_std(self) -> float:
        """One standard deviation of log10 D, from the interval's width in decades."""
        width = np.log10(self.upper_cm2_s / self.lower_cm2_s)
        return float(width / (2 * stats.norm.ppf(0.5 + CONFIDENCE / 2)))


def diffusivity(positions_A: Floats, interval_ps: float, seed: int = 0) -> Diffusivity:
    """Tracer diffusivity: the mean of independent walkers in three dimensions.

    Args:
        positions_A: (n_frames, n_walkers, 3) unwrapped positions without drift.
        interval_ps: Time between two frames in ps.
        seed: Of the draws from the posterior.

    Returns:
        The diffusivity, or the reason why none can be quoted.
    """
    positions_A, interval_ps = _thinned(positions_A, interval_ps)
    msd = mean_squared_displacement(positions_A)
    if msd.max() < NO_MOTION_A2:
        return _without("nothing moves")
    fit = None
    for onset in _onsets(len(msd)):
        fit = _fit(positions_A, msd, onset, CURVE_PRIOR)
        if fit.agreement > (DISAGREEMENT if fit.weights[0] > 0.5 else AGREEMENT):
            break
    if fit is None:
        return _without(f"{len(msd)} frames are too few for a diffusivity")
    return _result(fit, msd, interval_ps, np.random.default_rng(seed))


def jump_diffusivity(
    positions_A: Floats, interval_ps: float, tracer: Diffusivity, seed: int = 0
) -> Diffusivity:
    """Jump diffusivity: of the summed displacement of all walkers, divided by their number.

    One walker that says little by itself. So the lags are those of the tracer diffusivity, and
    what the single ions say about cages is what is expected here before looking.

    Args:
        positions_A: (n_frames, n_walkers, 3) unwrapped positions without drift.
        interval_ps: Time between two frames in ps.
        tracer: `diffusivity` of the same positions.
        seed: Of the draws from the posterior.
    """
    if not len(tracer.lags_ps):
        return tracer
    summed = positions_A.sum(axis=1, keepdims=True) / np.sqrt(positions_A.shape[1])
    summed, stored_ps = _thinned(summed, interval_ps)
    msd = mean_squared_displacement(summed)
    prior = (1 - DOUBT_OF_TRACER) * tracer.curve_weights + DOUBT_OF_TRACER * CURVE_PRIOR
    prior[:2] = 0.0, prior[:2].sum()  # the host's own vibration, times the ions, is in their sum
    single = _excess(_thinned(positions_A, interval_ps)[0], tracer.onset)
    fit = _fit(summed, msd, tracer.onset, prior, least_excess=single / positions_A.shape[1])
    return _result(fit, msd, stored_ps, np.random.default_rng(seed), MOST_DOUBT_OF_SUM)


def mean_squared_displacement(positions_A: Floats) -> Floats:
    """MSD over all overlapping windows and walkers, at every lag.

    By Fourier transform: MSD(k) is the sum of squares at both ends of the windows less twice the
    autocorrelation (V. Calandrini et al., Collection SFN 12, 201 (2011)).

    Args:
        positions_A: (n_frames, n_walkers, 3) unwrapped positions.

    Returns:
        (n_frames,) MSD in angstrom^2, lag 0 first.
    """
    n = len(positions_A)
    centred = positions_A - positions_A.mean(axis=0)
    products = np.zeros(2 * n)
    for walker in np.moveaxis(centred, 1, 0):
        spectrum = np.fft.rfft(walker, 2 * n, axis=0)
        products += np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=1), 2 * n)
    squares = (centred**2).sum(axis=(1, 2))
    from_start = np.concatenate([[0.0], np.cumsum(squares)])
    lag = np.arange(n)
    ends = from_start[n - lag] + from_start[n] - from_start[lag]
    msd = (ends - 2 * products[:n]) / (n - lag) / positions_A.shape[1]
    found: Floats = np.maximum(msd, 0.0)
    return found


def msd_covariance(
    msd: Floats, lags: NDArray[np.int64], n_frames: int, n_walkers: float, excess: float = 0.0
) -> Floats:
    """Covariance of MSD values that are averages over overlapping windows.

    For Gaussian increments, cov(M_i, M_j) = 2 * 3 / (N n_i n_j) sum over windows s, t of C(s, t)^2
    with C = [m(t-s+j) + m(t-s-i) - m(t-s) - m(t-s+j-i)] / 2 the covariance of two displacements in
    one direction and m = MSD / 3. Jumps add kappa / (N n_i n_j) times the summed overlap of the
    windows (compound Poisson process).

    Args:
        msd: (n_frames,) MSD of the process at all lags, angstrom^2.
        lags: (n,) lags in frames.
        n_frames: Frames in the trajectory.
        n_walkers: Independent walkers N.
        excess: Fourth cumulant kappa of the displacement, angstrom^4 a frame and walker: rate of
            jumps times the mean fourth power of their length.

    Returns:
        (n, n) covariance in angstrom^4.
    """
    return _overlapping_covariance(
        msd / 3.0, np.asarray(lags, np.int64), n_frames, float(n_walkers), float(excess)
    )


@numba.njit(cache=True)
def _overlapping_covariance(
    m: Floats, lags: NDArray[np.int64], n_frames: int, n_walkers: float, excess: float
) -> Floats:
    """The sums of `msd_covariance`, m = MSD / 3."""
    n_lags = len(lags)
    result = np.empty((n_lags, n_lags))
    for a in range(n_lags):
        for b in range(a + 1):
            i, j = lags[a], lags[b]
            n_i, n_j = n_frames - i, n_frames - j
            total = 0.0
            for u in range(1 - n_i, n_j):
                pairs = min(n_i, n_j - u) - max(0, -u)
                shared = 0.5 * (m[abs(u + j)] + m[abs(u - i)] - m[abs(u)] - m[abs(u + j - i)])
                overlap = max(0, min(i, u + j) - max(0, u))
                total += pairs * (6.0 * shared**2 + excess * overlap)
            result[a, b] = result[b, a] = total / (n_walkers * n_i * n_j)
    return result


@dataclass(frozen=True, eq=False)
class _Curve:
    """Posterior of one curve: straight, or with a cage that is forgotten after a given time.

    Attributes:
        cage_time: tau in frames; None for a straight line.
        mean: Slope, offset c and, with a cage, b.
        covariance: Of `mean`.
        misfit: chi^2.
        log_evidence: Up to a constant that all curves share.
    """

    cage_time: float | None
    mean: Floats
    covariance: Floats
    misfit: float
    log_evidence: float

    def msd(self, lag: Floats) -> Floats:
        """The curve at some lags in frames."""
        return _design(lag, self.cage_time) @ self.mean

    def slopes(self, n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draws of a slope >= 0 with b >= 0, and how likely each had been to come out below 0.

        They are skewed like a variance with as many degrees of freedom; where the slope cannot
        be told from zero, half of a Gaussian is all that is known.
        """
        mean, variance = np.full(n, self.mean[0]), self.covariance[0, 0]
        if self.cage_time is not None:
            b, var_b = self.mean[2], self.covariance[2, 2]
            least = -b / np.sqrt(var_b)
            drawn = stats.truncnorm.rvs(least, np.inf, b, np.sqrt(var_b), n, random_state=rng)
            share = self.covariance[0, 2] / var_b
            mean = mean + share * (drawn - b)
            variance = variance - share * self.covariance[0, 2]
        std = np.sqrt(variance)
        freedom = 2 * np.maximum(mean, 0.0) ** 2 / variance
        known = freedom > LEAST_FREEDOM
        skewed = mean * freedom / rng.chisquare(np.where(known, freedom, 1.0))
        half = stats.truncnorm.rvs(-mean / std, np.inf, mean, std, random_state=rng)
        return np.where(known, skewed, half), stats.norm.cdf(-mean / std)


@dataclass(frozen=True, eq=False)
class _Fit:
    """All curves on one set of lags.

    Attributes:
        lags: (n,) in frames.
        curves: Posterior of each.
        std: (n,) standard deviation of the MSD.
    """

    lags: NDArray[np.int64]
    curves: tuple[_Curve, ...]
    std: Floats

    @property
    def best(self) -> _Curve:
        return max(self.curves, key=lambda curve: curve.log_evidence)

    @property
    def agreement(self) -> float:
        """How often chance gives a worse fit than the best."""
        misfit = min(curve.misfit for curve in self.curves)
        return float(stats.chi2.sf(misfit, len(self.lags) - 2))

    @property
    def weights(self) -> Floats:
        """Posterior probabilities of the curves."""
        log_evidence = np.array([curve.log_evidence for curve in self.curves])
        weights = np.exp(log_evidence - log_evidence.max())
        return np.asarray(weights / weights.sum())


def _fit(
    positions_A: Floats, msd: Floats, onset: int, prior: Floats, least_excess: float = 0.0
) -> _Fit:
    """Curves from one onset; the covariance is that of the process that the likeliest describes."""
    n_frames, n_walkers = positions_A.shape[:2]
    lags = _lags(onset, n_frames)
    prior = np.where((np.arange(len(prior)) == 0) & (onset > 1), 0.0, prior)
    independent = n_walkers / _concertedness(positions_A, onset)
    excess = max(least_excess, _excess(positions_A, onset))
    y = msd[lags]
    design = _design(lags.astype(float), None)
    start, *_ = np.linalg.lstsq(design / y[:, None], np.ones(len(y)), rcond=None)
    best = _Curve(None, np.asarray(start, float), np.zeros((2, 2)), 0.0, 0.0)
    for _ in range(N_ITERATIONS):
        process = _process(msd, onset, best)
        covariance = msd_covariance(process, lags, n_frames, independent, excess)
        curves = tuple(_curves(y, lags, covariance, n_frames, prior))
        fit = _Fit(lags, curves, np.sqrt(np.diag(covariance)))
        best = fit.best
    return fit


def _curves(
    y: Floats, lags: NDArray[np.int64], covariance: Floats, n_frames: int, prior: Floats
) -> Iterator[_Curve]:
    """Linear Gaussian posterior of every curve: flat in slope, Gaussian in c and half so in b."""
    root = np.linalg.cholesky(covariance + 1e-9 * np.diag(np.diag(covariance)))
    z = np.linalg.solve(root, y)
    times = np.geomspace(lags[0], max(2 * lags[0], LONGEST_CAGE * n_frames), N_CAGE_TIMES)
    offsets = (WALK_OFFSET * y[0], *[CAGE_PRIOR_A2] * (1 + N_CAGE_TIMES))
    for offset, cage_time, probability in zip(offsets, (None, None, *times), prior, strict=True):
        X = np.linalg.solve(root, _design(lags.astype(float), cage_time))
        scales = np.array([offset, CAGE_PRIOR_A2])[: X.shape[1] - 1]
        precision = X.T @ X
        precision[1:, 1:] += np.diag(scales**-2)
        posterior = np.linalg.inv(precision)
        mean = posterior @ (X.T @ z)
        log_prior = np.log(max(probability, TINY)) - np.log(scales).sum()
        if cage_time is not None:
            log_prior += np.log(2) + stats.norm.logcdf(mean[2] / np.sqrt(posterior[2, 2]))
        log_evidence = 0.5 * (mean @ precision @ mean - np.linalg.slogdet(precision)[1]) + log_prior
        misfit = float(((z - X @ mean) ** 2).sum())
        yield _Curve(cage_time, mean, posterior, misfit, float(log_evidence))


def _design(lag: Floats, cage_time: float | None) -> Floats:
    """(n, 2 or 3) columns of the linear model: lag, offset, cage."""
    columns = [lag, np.ones_like(lag)]
    if cage_time is not None:
        columns.append(1 - np.exp(-lag / cage_time))
    return np.stack(columns, axis=1)


def _process(msd: Floats, onset: int, curve: _Curve) -> Floats:
    """(n_frames,) MSD of the described process: as measured up to the onset, then the curve."""
    lag = np.arange(len(msd), dtype=float)
    least = LEAST_SLOPE * msd[onset] / onset
    model = np.maximum(curve.msd(lag), 0.5 * msd[onset]) + least * lag * (curve.mean[0] < least)
    model = np.maximum.accumulate(model)
    return np.where(lag < onset, np.minimum(msd, model[onset]), model)


def _result(
    fit: _Fit,
    msd: Floats,
    interval_ps: float,
    rng: np.random.Generator,
    most_doubt: float = MOST_DOUBT,
) -> Diffusivity:
    """The posterior in the units of the world."""
    shares = rng.multinomial(N_DRAWS, fit.weights)
    drawn = [curve.slopes(n, rng) for curve, n in zip(fit.curves, shares, strict=True) if n]
    slopes, doubt = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    D = msd_to_diffusivity(slopes / interval_ps)
    tail = (1 - CONFIDENCE) / 2
    lower, value, upper = np.quantile(D, [tail, 0.5, 1 - tail])
    reason = ""
    if doubt.mean() > most_doubt or upper > WIDEST_INTERVAL * lower:
        reason = (
            "caged, or too short: the slope of the mean squared displacement cannot be told from "
            "zero; the upper end is what can be said"
        )
    elif fit.agreement <= DISAGREEMENT:
        reason = "the mean squared displacement does not become a straight line"
    if reason:
        lower = value = np.nan
    return Diffusivity(
        value_cm2_s=float(value),
        lower_cm2_s=float(lower),
        upper_cm2_s=float(upper),
        onset=int(fit.lags[0]),
        curve_weights=fit.weights,
        lags_ps=fit.lags.astype(float) * interval_ps,
        msd_A2=msd[fit.lags],
        msd_std_A2=fit.std,
        fit_A2=fit.best.msd(fit.lags.astype(float)),
        reason=reason,
    )


def _without(reason: str) -> Diffusivity:
    """No diffusivity at all."""
    nothing = np.zeros(0)
    return Diffusivity(
        value_cm2_s=np.nan,
        lower_cm2_s=np.nan,
        upper_cm2_s=np.nan,
        onset=1,
        curve_weights=CURVE_PRIOR,
        lags_ps=nothing,
        msd_A2=nothing,
        msd_std_A2=nothing,
        fit_A2=nothing,
        reason=reason,
    )


def _thinned(positions_A: Floats, interval_ps: float) -> tuple[Floats, float]:
    """At most `MAX_FRAMES` frames, evenly spaced."""
    every = -(-len(positions_A) // MAX_FRAMES)
    return positions_A[::every], interval_ps * every


def _onsets(n_frames: int) -> list[int]:
    """Lags at which a line may start."""
    latest = int(LATEST_ONSET * n_frames)
    grid = np.unique(np.rint(2.0 ** np.arange(0, 16, 0.5)).astype(int))
    return [int(k) for k in grid if k <= latest]


def _lags(onset: int, n_frames: int) -> NDArray[np.int64]:
    """Lags of a fit that starts at the onset."""
    longest = max(onset + 2, int(LONGEST_LAG * n_frames))
    return np.unique(np.rint(np.geomspace(onset, longest, N_LAGS)).astype(np.int64))


def _excess(positions_A: Floats, lag: int) -> float:
    """Fourth cumulant of displacements a frame and walker, angstrom^4; zero for Gaussian ones."""
    squares = ((positions_A[lag:] - positions_A[:-lag]) ** 2).sum(axis=2)
    return max(0.0, float((squares**2).mean() - 5 / 3 * squares.mean() ** 2)) / lag


def _concertedness(positions_A: Floats, lag: int) -> float:
    """How many walkers move as one, at least one.

    The variance over windows of the summed squared displacement, relative to the sum of the
    walkers' own.
    """
    windows = positions_A[:: max(1, lag)]
    squares = ((windows[1:] - windows[:-1]) ** 2).sum(axis=2)
    if squares.shape[1] < 2 or len(squares) < 3:
        return 1.0
    alone = squares.var(axis=0, ddof=1).sum()
    return max(1.0, float(squares.sum(axis=1).var(ddof=1) / alone)) if alone > 0 else 1.0
