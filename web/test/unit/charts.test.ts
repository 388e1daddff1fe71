import { describe, expect, it } from 'vitest';
import { align, gaps, type RawSeries, stepOf } from '../../src/charts/align';
import { verticalLabels, verticalRange } from '../../src/charts/axis';
import { readSeries, Tail } from '../../src/charts/series';
import { bounds, isLive, readRange } from '../../src/pages/app/ranges';

const raw = (pm_id: number, t: number[], v: (number | null)[], server = 's'): RawSeries => ({
  server,
  app: 'a',
  pm_id,
  t,
  min: v,
  max: v,
  avg: v,
});
const perProcess = (s: RawSeries) => ({ key: `${s.server} ${s.pm_id}`, label: `${s.server} #${s.pm_id}` });
const perServer = (s: RawSeries) => ({ key: s.server, label: s.server });

describe('align', () => {
  it('puts series on one axis', () => {
    const a = align([raw(1, [0, 1000, 2000], [1, 2, 3]), raw(2, [1000, 2000, 3000], [5, 6, 7])], perProcess, 0);
    expect(a.t).toEqual([0, 1, 2, 3]);
    expect(a.lines.map((l) => l.avg)).toEqual([
      [1, 2, 3, undefined],
      [undefined, 5, 6, 7],
    ]);
  });

  it('means a group and keeps its extremes', () => {
    const a = align([raw(1, [0, 1000], [10, 20]), raw(2, [0, 1000], [30, null])], perServer, 0);
    expect(a.lines).toHaveLength(1);
    expect(a.lines[0]).toMatchObject({ label: 's', avg: [20, 20], min: [10, 20], max: [30, 20] });
  });

  it('meets times that lie some ms apart', () => {
    const a = align([raw(1, [0, 1004], [1, 2]), raw(2, [3, 998], [3, 4])], perServer, 1000);
    expect(a.t).toEqual([0, 1]);
    expect(a.lines[0]?.avg).toEqual([2, 3]);
  });

  it('breaks the line where nothing was said, also where the hub said null', () => {
    const t = [0, 1000, 2000, 3000, 20_000, 21_000];
    expect(stepOf(t)).toBe(1000);
    expect(gaps(t)).toEqual([4000]);
    const a = align([raw(1, t, [1, 1, 1, 1, 1, 1])], perProcess, 1000);
    expect(a.lines[0]?.avg[a.t.indexOf(4)]).toBeNull();
    expect(align([raw(1, [0, 1000], [1, null])], perProcess, 0).lines[0]?.avg).toEqual([1, null]);
  });

  it('has nothing of nothing', () => expect(align([], perServer, 1000)).toEqual({ t: [], lines: [] }));
});

describe('series', () => {
  it('reads answers with holes and without extremes', () => {
    expect(
      readSeries({ unit: '%', series: [{ server: 's', app: 'a', pm_id: 1, t: [1, 2], avg: [1, null] }, null] }),
    ).toMatchObject({
      unit: '%',
      series: [
        { server: 's', t: [1, 2], avg: [1, null], min: [1, null] },
        { t: [], avg: [] },
      ],
    });
    expect(readSeries(null)).toEqual({ unit: '', series: [] });
  });

  it('puts the live tail behind history once', () => {
    const tail = new Tail();
    for (const at of [2000, 3000, 3000, 4000]) tail.push('s', 'a', 1, at, at / 1000);
    tail.push('s', 'a', 2, 4000, 9);
    const [one, two] = tail.behind([raw(1, [1000, 2000], [1, 2])], 0);
    expect(one).toMatchObject({ t: [1000, 2000, 3000, 4000], avg: [1, 2, 3, 4], max: [1, 2, 3, 4] });
    expect(two).toMatchObject({ pm_id: 2, t: [4000], avg: [9] });
    expect(tail.behind([raw(1, [1000, 2000], [1, 2])], 2500)[0]).toMatchObject({ t: [3000, 4000] });
    expect(tail.behind([raw(1, [1000, 9000], [1, 2])], 0)[0]).toMatchObject({ t: [1000, 9000] });
  });

  it('keeps a bounded tail', () => {
    const tail = new Tail(3);
    for (let i = 1; i <= 9; i++) tail.push('s', 'a', 1, i, i);
    expect(tail.behind([], 0)[0]?.t).toEqual([7, 8, 9]);
  });
});

describe('ranges', () => {
  it('come from the address', () => {
    expect(readRange(new URLSearchParams('range=6h'))).toMatchObject({ kind: 'preset', id: '6h' });
    expect(readRange(new URLSearchParams('range=nonsense'))).toMatchObject({ kind: 'preset', id: '10m' });
    expect(readRange(new URLSearchParams('from=1000&to=5000'))).toEqual({ kind: 'fixed', from: 1000, to: 5000 });
    expect(readRange(new URLSearchParams('from=5000&to=1000'))).toMatchObject({ kind: 'preset' });
  });
  it('follow the clock or stand', () => {
    const hour = readRange(new URLSearchParams('range=1h'));
    expect(bounds(hour, 10_000_000)).toEqual([6_400_000, 10_000_000]);
    expect(isLive(hour)).toBe(true);
    expect(isLive(readRange(new URLSearchParams('range=6h')))).toBe(false);
    expect(bounds({ kind: 'fixed', from: 1, to: 2 }, 99)).toEqual([1, 2]);
  });
});

describe('vertical axis', () => {
  const MiB = 1024 ** 2;

  it('says neighbours apart, with no more decimals than that takes', () => {
    expect(verticalLabels([0, 64 * MiB, 128 * MiB], 'b')).toEqual(['0B', '64MiB', '128MiB']);
    expect(verticalLabels([13 * MiB, 13.5 * MiB, 14 * MiB], 'b')).toEqual(['13MiB', '13.5MiB', '14MiB']);
    expect(verticalLabels([1, 2, 3], 'ms')).toEqual(['1ms', '2ms', '3ms']);
  });

  it('begins at zero unless everything lies far above it', () => {
    expect(verticalRange(2, 40, '%')).toEqual([0, 46]);
    expect(verticalRange(100 * MiB, 101 * MiB, 'b')[0]).toBeGreaterThan(90 * MiB);
    expect(verticalRange(Number.NaN, Number.NaN, 'b')).toEqual([0, 1]);
  });
});
