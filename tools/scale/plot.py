"""Draws the CSV files beside this one as SVG. Needs matplotlib; tools/scale/scale.sh runs it."""

import csv
import pathlib

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "fustor"  # the same figures make the same files
import matplotlib.pyplot as plt  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "benchmarks"
plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False})


def read(name):
    """Rows of a CSV file as dicts, numbers as floats."""
    path = HERE / name
    if not path.exists():
        return []
    with path.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for key, value in row.items():
            try:
                row[key] = float(value)
            except ValueError:
                pass
    return rows


def against_rows(axes, rows, lines, y, title, unit, budget=None, log=True):
    """One line per value of (store, lines), over the number of rows."""
    series = {}
    for row in rows:
        series.setdefault((row["store"], row[lines]), []).append((row["rows"], row[y]))
    names = sorted({name for _, name in series}, key=str)
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    for (store, name), points in sorted(series.items(), key=str):
        points.sort()
        label = f"{name:g}" if isinstance(name, float) else str(name)
        axes.plot(*zip(*points), "o-" if store == "local" else "s--", color=colours[name], label=f"{label}, {store}", markersize=3)
    if budget:
        axes.axhline(budget, color="black", linewidth=0.8, linestyle=":")
        axes.annotate("budget", (0.01, budget), xycoords=("axes fraction", "data"), va="bottom", fontsize=7)
    axes.set_xscale("log")
    if log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(title)
    axes.set_xlabel("rows of the view")
    axes.set_ylabel(unit)
    axes.legend(fontsize=6)


def save(figure, name):
    figure.tight_layout()
    figure.savefig(HERE / name, metadata={"Date": None})
    plt.close(figure)


def questions():
    rows = [{**r, "what": r["question"]} for r in read("questions.csv")]
    if not rows:
        return
    lookups = [r for r in rows if r["question"] in ("stat", "list", "du")]
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5))
    cold, warm = ([r for r in lookups if r["state"] == state] for state in ("cold", "warm"))
    against_rows(axes[0][0], cold, "what", "p50_ms", "Cold: median", "ms", log=False)
    against_rows(axes[0][1], [r for r in cold if r["store"] == "local"], "what", "kib_max", "Cold: most bytes of one answer", "KiB", 512, log=False)
    against_rows(axes[1][0], [r for r in cold if r["store"] == "local"], "what", "gets", "Cold: requests, mean", "GETs", log=False)
    against_rows(axes[1][1], [r for r in warm if r["store"] == "local"], "what", "p99_ms", "Warm: 99th percentile", "ms", 2, log=False)
    save(figure, "lookups.svg")
    searches = [r for r in rows if r["question"].startswith("search") and r["store"] == "local"]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    against_rows(axes[0], [r for r in searches if r["state"] == "warm"], "what", "p50_ms", "Search, warm: median", "ms", 100)
    against_rows(axes[1], [r for r in searches if r["state"] == "cold"], "what", "kib", "Search, cold: bytes read, mean", "KiB")
    save(figure, "searches.svg")


def folds():
    rows = read("folds.csv")
    if not rows:
        return
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2))
    local = [r for r in rows if r["store"] == "local"]
    against_rows(axes[0], local, "state", "gets", "One change folded: requests", "GETs", log=False)
    against_rows(axes[1], local, "state", "kib_read", "read", "KiB", log=False)
    against_rows(axes[2], local, "state", "kib_written", "written", "KiB", log=False)
    save(figure, "folds.svg")


def throughput():
    rows = [r for r in read("queries.csv") if r["kind"] == "all" and r["store"] == "local"]
    if not rows:
        return
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2))
    against_rows(axes[0], rows, "clients", "requests/s", "Requests a second, by clients", "1/s", log=False)
    against_rows(axes[1], rows, "clients", "p99_ms", "99th percentile", "ms", log=False)
    against_rows(axes[2], rows, "clients", "rss_mib", "Resident, clients included", "MiB", log=False)
    save(figure, "throughput.svg")


def events():
    rows = read("events.csv")
    if not rows:
        return
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2))
    seconds = [r["seconds"] for r in rows]
    for key, label in (("lag_p50_ms", "median"), ("lag_p99_ms", "99th percentile"), ("lag_max_ms", "most")):
        axes[0].plot(seconds, [r[key] / 1000 for r in rows], label=label)
    axes[0].axhline(2, color="black", linewidth=0.8, linestyle=":")
    axes[0].set_title("Behind, 1,000 events/s")
    axes[0].set_ylabel("s")
    axes[0].legend(fontsize=7)
    axes[1].plot(seconds, [r["cpu_percent"] for r in rows])
    axes[1].set_title("Processor")
    axes[1].set_ylabel("% of one core")
    axes[2].plot(seconds, [r["rss_mib"] for r in rows])
    axes[2].set_title("Resident")
    axes[2].set_ylabel("MiB")
    for one in axes:
        one.set_xlabel("seconds")
        one.set_ylim(bottom=0)
    save(figure, "events.svg")


questions()
folds()
throughput()
events()
