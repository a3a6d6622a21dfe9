"""Results of a run in Tiled as tables and datasets, while it goes on and after.

In a notebook, two lines::

    live = LiveResults(from_uri("http://localhost:8000"))
    live.positions()  # where every particle is now
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from tiled.client.container import Container
from tiled.queries import Key, SpecsQuery

from ...streamer.core.view import LiveView, Phase, init, start, stop, take_rows
from ...streamer.io.tiled.key import without_key
from .rows import RESERVED, SEQ_NUM, ranges

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from .client import OperandoStream


RUN_SPEC = "OperandoRun"
_LONGEST_READ = 64  # images of one request, by eye


class LiveResults:
    """Results of one run; every call reads what there is by now.

    A row of a table is the newest revision of what it tells. Before a stream has begun its table or
    dataset is empty, and its ``attrs["note"]`` says so.

    Parameters
    ----------
    client : of Tiled: a container of result runs, or one result run.
    run : uid of a result run or of its raw run. None takes the result run that began last; make
        another `LiveResults` to go on to the next one.

    Attributes
    ----------
    uid : of the result run.

    Raises
    ------
    LookupError
        There is no such run.

    Examples
    --------
    >>> live = LiveResults(from_uri("http://localhost:8000"))  # doctest: +SKIP
    >>> live.positions()[["y", "x", "velocity_y", "velocity_x"]]  # doctest: +SKIP
    >>> live.spectra().od.plot(x="energy", hue="particle")  # doctest: +SKIP
    >>> live.maps().fraction.plot(col="particle")  # doctest: +SKIP
    """

    def __init__(self, client: Container, run: str | None = None) -> None:
        found = _find(client, run)
        self._start = dict(cast("Mapping[str, Any]", found.metadata["start"]))
        self.uid = str(self._start["uid"])
        self._run = found

    @property
    def start(self) -> dict[str, Any]:
        """Return the start document of the result run."""
        return self._start

    @property
    def stop(self) -> dict[str, Any] | None:
        """Return its stop document; None while the run goes on."""
        self._run.refresh()
        stop = cast("Mapping[str, Any] | None", self._run.metadata.get("stop"))
        return None if stop is None else dict(stop)

    def frames(self) -> pd.DataFrame:
        """Return drift, strain, status, ... of each frame; the index is the number of it."""
        table = _newest(self.table("frames"), ["frame"])
        return _indexed(table, ["frame"])

    def particles(self) -> pd.DataFrame:
        """Return all places of all particles; the index is frame and particle."""
        table = _newest(self.table("particles"), ["frame", "particle"])
        return _indexed(table, ["frame", "particle"])

    def positions(self) -> pd.DataFrame:
        """Return the newest row of each particle: where it is now."""
        table = _newest(self.table("particles"), ["frame", "particle"])
        return _indexed(_newest(table, ["particle"]), ["particle"])

    def trajectories(self) -> xr.Dataset:
        """Return `particles` over ``particle`` and ``frame``; NaN where one is not seen."""
        return self._over("particles", ("particle", "frame"))

    def spectra(self) -> xr.Dataset:
        """Return OD, ... over ``particle`` and ``energy``, eV; NaN where not measured yet."""
        return self._over("spectra", ("particle", "energy"))

    def chemistry(self) -> pd.DataFrame:
        """Return the newest row of each particle in ``spectra``."""
        return _indexed(_newest(self.table("spectra"), ["particle"]), ["particle"])

    def maps(self) -> xr.Dataset:
        """Return the newest maps over ``particle``, ``y`` and ``x``, px of the window."""
        import xarray as xr

        stream = self._stream("maps")
        images = {} if stream is None else stream.images
        if stream is None or not images:
            return _nothing("maps", ("particle", "y", "x"))
        table = stream.read()
        told = min(node.shape[0] for node in images.values())  # images may lag behind rows
        told_of = table.loc[table[SEQ_NUM] <= told].sort_values(SEQ_NUM)
        newest = told_of.drop_duplicates("particle", keep="last").sort_values("particle")
        if newest.empty:
            return _nothing("maps", ("particle", "y", "x"))
        units = table.attrs["units"]
        rows = newest[SEQ_NUM].to_numpy(dtype=np.int64) - 1
        dataset = xr.Dataset(
            {name: (("particle", "y", "x"), _read(node, rows)) for name, node in images.items()},
            coords={
                name: ("particle", newest[name].to_numpy(), {"units": units[name]})
                for name in newest.columns
                if name not in RESERVED
            },
        )
        for name, unit in stream.image_units.items():
            if name in dataset:
                dataset[name].attrs["units"] = unit
        return dataset

    def advice(self) -> pd.DataFrame:
        """Return all advice, oldest first; a row per advice."""
        return self.table("advice")

    def image(self) -> xr.DataArray:
        """Return the newest aligned frame, optical density over ``y`` and ``x``, px.

        Raises
        ------
        LookupError
            There is none yet.
        """
        import xarray as xr

        stream = self._stream("frames")
        node = None if stream is None else stream.images.get("aligned")
        if node is None or not node.shape[0]:
            raise LookupError("no frame of this run has been aligned yet")
        image = np.asarray(node[node.shape[0] - 1])
        return xr.DataArray(image, dims=("y", "x"), name="aligned", attrs={"units": "OD"})

    def table(self, stream: str) -> pd.DataFrame:
        """Return all rows of a stream as they were emitted, revisions and all.

        Parameters
        ----------
        stream : ``frames``, ``particles``, ``spectra``, ``maps`` or ``advice``.
        """
        found = self._stream(stream)
        if found is None:
            table = pd.DataFrame()
            table.attrs = {"units": {}, "note": _note(stream)}
            return table
        return found.read()

    def tail(self, stream: str, start: int) -> pd.DataFrame:
        """Return the rows of a stream from its event number `start`, 0-based, on."""
        found = self._stream(stream)
        return pd.DataFrame() if found is None else found.tail(start)

    def _stream(self, name: str) -> OperandoStream | None:
        return cast("OperandoStream", self._run[name]) if name in self._run else None

    def _over(self, stream: str, dims: tuple[str, str]) -> xr.Dataset:
        table = self.table(stream)
        if table.empty:
            return _nothing(stream, dims)
        rows = _indexed(_newest(table, list(dims)), list(dims))
        numbers = rows.select_dtypes(["number", "bool"]).astype(np.float64)
        dataset = numbers.drop(columns=[c for c in RESERVED if c in numbers]).to_xarray()
        for name, unit in table.attrs["units"].items():
            if name in dataset.variables:
                dataset[name].attrs["units"] = unit
        return dataset


def _find(client: Container, run: str | None) -> Container:
    if any(spec.name == RUN_SPEC for spec in client.specs):
        return client
    if run is not None and run in client:
        return cast("Container", client[run])
    runs = client.search(SpecsQuery([RUN_SPEC]))
    if run is not None:
        runs = runs.search(Key("start.original_run_uid") == run)
    if not len(runs):
        wanted = "result run" if run is None else f"result run {run}, nor one of a raw run {run},"
        raise LookupError(f"there is no {wanted} at {without_key(client.uri)} yet")
    return cast("Container", runs.values().last())


def _newest(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return the last row of the highest revision, of the newest frame if that is no key."""
    order = [c for c in ("frame", "revision", SEQ_NUM) if c in table and c not in keys]
    if table.empty:
        return table
    ordered = table.sort_values(order, kind="stable")
    newest = ordered.drop_duplicates(list(keys), keep="last").sort_values(list(keys))
    newest.attrs = dict(table.attrs)
    return newest


def _indexed(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    if table.empty:
        return table
    indexed = table.set_index(list(keys))
    indexed.attrs = dict(table.attrs)
    return indexed


def _read(node: Any, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Read images of some rows, with few requests."""
    found: dict[int, NDArray[Any]] = {}
    for first, end in ranges({int(row): None for row in rows}, _LONGEST_READ):
        found.update(zip(range(first, end), np.asarray(node[first:end]), strict=True))
    return np.stack([found[int(row)] for row in rows])


def _nothing(stream: str, dims: Sequence[str]) -> xr.Dataset:
    import xarray as xr

    return xr.Dataset(coords={dim: np.empty(0) for dim in dims}, attrs={"note": _note(stream)})


def _note(stream: str) -> str:
    return f"nothing has come in the stream {stream} of this run yet"


_LOOK_S = 5.0
"""Time between two looks for a newer run, s; by eye: a request costs 20 to 40 ms."""


class TiledFollower:
    """Follows the result run that began last; only what is new is asked of the server.

    Parameters
    ----------
    client : of Tiled: a container of result runs.
    clock : monotonic clock, s.
    """

    def __init__(self, client: Container, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._results: LiveResults | None = None
        self._seen: dict[str, int] = {}
        self._looked = float("-inf")
        self.view: LiveView = init()

    def poll(self) -> LiveView:
        """Ask what is new; return the view.

        Raises
        ------
        httpx.HTTPError
            The server failed; asking again goes on where this ended.
        """
        self._look()
        results = self._results
        if results is None or self.view.phase is Phase.ENDED:
            return self.view
        ended = results.stop  # before the rows: these are then all
        for stream in ("particles", "frames", "advice"):
            self._take(results, stream, whole=ended is not None)
        if ended is not None:
            self.view = stop(self.view, ended)
        return self.view

    def _look(self) -> None:
        """Look for a newer run, now and then."""
        if self._clock() - self._looked < _LOOK_S:
            return
        try:
            newest = LiveResults(self._client)
        except LookupError:
            return
        finally:
            self._looked = self._clock()
        if self._results is None or newest.uid != self._results.uid:
            self._results, self._seen = newest, {}
            self.view = start(newest.start)

    def _take(self, results: LiveResults, stream: str, *, whole: bool) -> None:
        seen = self._seen.get(stream, 0)
        table = results.tail(stream, seen)
        if not whole:
            table = _without_gap(table, seen)
        if table.empty:
            return
        self._seen[stream] = seen + len(table)
        if stream == "particles":  # only the newest is shown, and that before while its frame waits
            table = table.sort_values(["frame", "revision"], kind="stable")
            table = table.groupby("particle").tail(2)
        records = cast("list[Mapping[str, Any]]", table.to_dict("records"))
        self.view = take_rows(self.view, stream, records)


def _without_gap(table: pd.DataFrame, seen: int) -> pd.DataFrame:
    """Rows up to the first that is missing: the server writes them one chunk after another."""
    if table.empty:
        return table
    ordered = table.sort_values("seq_num")
    wanted = np.arange(seen + 1, seen + 1 + len(ordered))
    return ordered.loc[ordered["seq_num"].to_numpy() == wanted]
