# SPDX-License-Identifier: BSD-3-Clause
#
# What was measured, as tables in Markdown, a picture per figure, and JSON.
import html
import math

SIDES = ("nestor", "qemu", "floor")
COLOURS = {"nestor": "#1f6f4a", "qemu": "#c46a2b", "floor": "#8a8f98"}


def number(x):
    if x >= 1e6:
        return f"{x / 1e6:.3g}M"
    if x >= 10000:
        return f"{x:.0f}"
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}"


def spread(result, side):
    if side not in result:
        return "-"
    r = result[side]
    if r["min"] == r["max"]:
        return number(r["median"])
    return f"{number(r['median'])} [{number(r['min'])}..{number(r['max'])}]"


def ratio(result):
    if "qemu" not in result or not result["nestor"]["median"]:
        return None
    return result["qemu"]["median"] / result["nestor"]["median"]


def floors(result):
    return result["nestor"]["median"] / result["floor"]["median"] if "floor" in result else None


def verdict(row, result):
    """What of the target; "" if there is none, or nothing to compare with."""
    if row.exactly is not None:
        return f"{row.exactly:g}: " + ("met" if result["nestor"]["min"] == result["nestor"]["max"] == row.exactly else "missed")
    if row.least and ratio(result):
        return f">= {row.least:g}x: " + ("met" if ratio(result) >= row.least else "missed")
    if row.most_floors and floors(result):
        return f"<= {row.most_floors:g} floors: " + ("met" if floors(result) <= row.most_floors else "missed")
    return ""


def columns(row, result, peer):
    cells = [row.name, spread(result, "nestor")]
    if peer:
        cells += [spread(result, "qemu"), f"{ratio(result):.3g}x" if ratio(result) else "-"]
    cells.append(f"{spread(result, 'floor')}, {floors(result):.2g}x" if floors(result) else "-")
    return cells + [verdict(row, result)]


def table(results, peer):
    lines, figure = [], None
    for row, result in results:
        if row.figure != figure:
            figure = row.figure
            head = [f"{figure} ({row.unit})", "Nestor"] + (["QEMU", "ratio"] if peer else []) + ["floor, times", "target"]
            lines += ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        cells = [row.name, f"failed: {result['error']}"] if "error" in result else columns(row, result, peer)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines[1:]) + "\n"


def as_json(results):
    return [{"figure": row.figure, "name": row.name, "unit": row.unit, "ratio": None if "error" in result else ratio(result),
             "target": row.least, "target_floors": row.most_floors, **result} for row, result in results]


# --- pictures ------------------------------------------------------------------------------------

WIDTH, LEFT, BAR, GAP = 900, 270, 11, 9


def text(x, y, what, anchor="start", size=12, colour="#222"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" font-family="sans-serif" font-size="{size}" fill="{colour}" '
            f'text-anchor="{anchor}">{html.escape(what)}</text>')


def svg(figure, rows):
    """Bars on a logarithmic scale; a line over each from the smallest to the largest sample."""
    values = [r[side][k] for _, r in rows for side in SIDES if side in r for k in ("min", "max") if r[side][k] > 0]
    if not values:
        return None
    low = 10 ** math.floor(math.log10(min(values)))
    high = 10 ** math.ceil(math.log10(max(values) * 1.01))
    scale = (WIDTH - LEFT - 90) / max(math.log10(high / low), 1)

    def x(value):
        return LEFT + scale * math.log10(max(value, low) / low)

    shown = [s for s in SIDES if any(s in r for _, r in rows)]
    out, y = [], 54
    for row, result in rows:
        top = y
        for side in shown:
            if side not in result:
                continue
            r = result[side]
            out.append(f'<rect x="{LEFT}" y="{y}" width="{max(x(r["median"]) - LEFT, 1):.1f}" height="{BAR}" '
                       f'fill="{COLOURS[side]}"/>')
            out.append(f'<line x1="{x(r["min"]):.1f}" x2="{x(r["max"]):.1f}" y1="{y + BAR / 2}" y2="{y + BAR / 2}" '
                       'stroke="#000" stroke-width="1"/>')
            out.append(text(max(x(r["median"]), x(r["max"])) + 5, y + BAR - 1, number(r["median"]), size=10))
            y += BAR + 1
        out.append(text(LEFT - 8, (top + y) / 2 + 4, row.name, "end"))
        y += GAP
    grid = []
    for exponent in range(int(math.log10(low)), int(math.log10(high)) + 1):
        at = x(10 ** exponent)
        grid.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="48" y2="{y}" stroke="#ddd"/>')
        grid.append(text(at, y + 14, number(10.0 ** exponent), "middle", 10, "#666"))
    legend = []
    for n, side in enumerate(shown):
        legend.append(f'<rect x="{LEFT + 110 * n}" y="30" width="{BAR}" height="{BAR}" fill="{COLOURS[side]}"/>')
        legend.append(text(LEFT + 110 * n + BAR + 5, 40, {"nestor": "Nestor", "qemu": "QEMU", "floor": "floor"}[side]))
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 24}">',
                      f'<rect width="{WIDTH}" height="{y + 24}" fill="#fff"/>',
                      text(8, 20, f"{figure} ({rows[0][0].unit}, smaller is better)", size=15), *legend, *grid, *out, "</svg>", ""])
