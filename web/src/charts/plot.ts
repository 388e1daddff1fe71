/** The only file that knows uPlot: one chart on one canvas, given lines, told the range, asked for nothing else. */
import 'uplot/dist/uPlot.min.css';
import uPlot from 'uplot';
import { clock, stamp } from '../format/time';
import { colour } from '../theme';
import type { Aligned } from './align';
import { BYTE_STEPS, isBytes, verticalLabels, verticalRange } from './axis';

export const PALETTE = ['--c1', '--c2', '--c3', '--c4', '--c5', '--c6', '--c7', '--c8'] as const;

export function inkOf(index: number): string {
  return PALETTE[index % PALETTE.length] ?? '--c1';
}

export interface PlotOptions {
  readonly unit: string;
  readonly height: number;
  /** Charts with the same name share their cross-hair. */
  readonly sync: string;
  readonly onZoom: (from: number, to: number) => void;
  /** Index of the point under the cross-hair, `null` when it left. */
  readonly onCursor: (index: number | null) => void;
}

export class Plot {
  private readonly host: HTMLElement;
  private readonly options: PlotOptions;
  private plot: uPlot | null = null;
  private shape = '';
  private range: [number, number] = [0, 1];
  private hidden: ReadonlySet<string> = new Set();

  constructor(host: HTMLElement, options: PlotOptions) {
    this.host = host;
    this.options = options;
  }

  /** Draws. `from` and `to` are epoch ms. */
  show(data: Aligned, from: number, to: number, hidden: ReadonlySet<string>): void {
    this.range = [from / 1000, to / 1000];
    this.hidden = hidden;
    const shape = data.lines.map((l) => l.key).join('\n');
    const columns: uPlot.AlignedData = [
      data.t as number[],
      ...data.lines.flatMap((l) => [l.avg, l.max, l.min] as number[][]),
    ];
    if (!this.plot || shape !== this.shape) {
      this.shape = shape;
      this.plot?.destroy();
      this.plot = new uPlot(this.setup(data), columns, this.host);
      return;
    }
    const plot = this.plot;
    plot.batch(() => {
      data.lines.forEach((l, i) => {
        const show = !hidden.has(l.key);
        for (let s = i * 3 + 1; s <= i * 3 + 3; s++) if (plot.series[s]?.show !== show) plot.setSeries(s, { show });
      });
      plot.setData(columns, false);
      plot.setScale('x', { min: this.range[0], max: this.range[1] });
    });
  }

  resize(): void {
    const width = this.host.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.options.height });
  }

  /** Colours are baked into a chart; after a change of theme the next `show` makes a new one. */
  forget(): void {
    this.shape = '';
  }

  destroy(): void {
    this.plot?.destroy();
    this.plot = null;
  }

  private setup(data: Aligned): uPlot.Options {
    const { unit, height, sync, onZoom, onCursor } = this.options;
    const text = colour('--text-3');
    const grid = { stroke: colour('--line'), width: 1 };
    const banded = data.lines.length <= 2;
    const series: uPlot.Series[] = [{}];
    const bands: uPlot.Band[] = [];
    data.lines.forEach((l, i) => {
      const ink = colour(inkOf(i));
      const show = !this.hidden.has(l.key);
      series.push(
        { label: l.label, stroke: ink, width: 1.4, points: { show: false }, show },
        { label: `${l.label} max`, stroke: 'transparent', width: 0, points: { show: false }, show, auto: banded },
        { label: `${l.label} min`, stroke: 'transparent', width: 0, points: { show: false }, show, auto: banded },
      );
      if (banded) bands.push({ series: [i * 3 + 2, i * 3 + 3], fill: translucent(ink) });
    });
    return {
      width: this.host.clientWidth || 400,
      height,
      legend: { show: false },
      padding: [8, 20, 0, 0],
      cursor: {
        sync: { key: sync, setSeries: false },
        drag: { x: true, y: false, setScale: false },
        points: { size: 6 },
        y: false,
      },
      scales: {
        x: { time: true, range: () => this.range },
        y: { range: (_, low, high) => verticalRange(low ?? Number.NaN, high ?? Number.NaN, unit) },
      },
      axes: [
        {
          stroke: text,
          grid,
          ticks: { show: false },
          font: FONT,
          size: 26,
          space: 64,
          values: (_u, splits, _axis, _space, step) => timeLabels(splits, step),
        },
        {
          stroke: text,
          grid,
          ticks: { show: false },
          font: FONT,
          size: 62,
          space: 36,
          values: (_, splits) => verticalLabels(splits, unit),
          ...(isBytes(unit) ? { incrs: BYTE_STEPS } : {}),
        },
      ],
      series,
      bands,
      hooks: {
        setCursor: [(u) => onCursor(u.cursor.left !== undefined && u.cursor.left >= 0 ? (u.cursor.idx ?? null) : null)],
        setSelect: [
          (u) => {
            if (u.select.width < 6) return;
            const from = u.posToVal(u.select.left, 'x') * 1000;
            const to = u.posToVal(u.select.left + u.select.width, 'x') * 1000;
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            onZoom(Math.floor(from), Math.ceil(to));
          },
        ],
      },
    };
  }
}

const FONT = '11px system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif';

/** 24-hour clock; a midnight says its day. */
function timeLabels(splits: readonly number[], step: number): string[] {
  return splits.map((s) => {
    const d = new Date(s * 1000);
    const midnight = d.getHours() === 0 && d.getMinutes() === 0 && d.getSeconds() === 0;
    if (step >= 86_400 || midnight) return stamp(s * 1000).slice(5, 10);
    return clock(s * 1000).slice(0, step < 60 ? 8 : 5);
  });
}

function translucent(rgb: string): string {
  const parts = /^rgba?\(([^)]+)\)$/.exec(rgb)?.[1]?.split(/[\s,/]+/);
  return parts && parts.length >= 3 ? `rgba(${parts[0]}, ${parts[1]}, ${parts[2]}, 0.12)` : rgb;
}
