import { describe, expect, it } from 'vitest';
import { reveal, rowAt, tops, visible } from '../../src/table/window';

describe('window', () => {
  const top = tops([40, 100, 40, 40, 20]);

  it('sums heights', () => expect([...top]).toEqual([0, 40, 140, 180, 220, 240]));

  it('finds the row at a height', () => {
    expect([-5, 0, 39, 40, 139, 140, 239, 240, 9999].map((y) => rowAt(top, y))).toEqual([0, 0, 0, 1, 1, 2, 4, 4, 4]);
    expect(rowAt(tops([]), 10)).toBe(0);
  });

  it('covers the viewport and no more than the list', () => {
    expect(visible(top, 0, 50, 0)).toEqual({ first: 0, end: 2, offset: 0 });
    expect(visible(top, 150, 40, 0)).toEqual({ first: 2, end: 4, offset: 140 });
    expect(visible(top, 150, 40, 60)).toEqual({ first: 1, end: 5, offset: 40 });
    expect(visible(top, 9999, 50, 0)).toEqual({ first: 4, end: 5, offset: 220 });
    expect(visible(tops([]), 0, 500, 100)).toEqual({ first: 0, end: 0, offset: 0 });
  });

  it('agrees with a search row by row', () => {
    let seed = 1;
    const next = () => {
      seed = (seed * 48271) % 2147483647;
      return seed / 2147483647;
    };
    for (let round = 0; round < 200; round++) {
      const heights = Array.from({ length: 1 + Math.floor(next() * 60) }, () => 1 + Math.floor(next() * 90));
      const t = tops(heights);
      const all = t[heights.length] ?? 0;
      const scroll = next() * all;
      const height = 1 + next() * 400;
      const span = visible(t, scroll, height, 0);
      for (let i = 0; i < heights.length; i++) {
        const seen = (t[i + 1] ?? 0) > scroll && (t[i] ?? 0) < scroll + height;
        if (seen) expect(i >= span.first && i < span.end).toBe(true);
      }
      expect(span.end - span.first).toBeLessThanOrEqual(
        heights.filter((_, i) => (t[i + 1] ?? 0) >= scroll && (t[i] ?? 0) <= scroll + height).length,
      );
    }
  });

  it('scrolls no further than needed', () => {
    expect(reveal(top, 0, 100, 60)).toBe(0);
    expect(reveal(top, 3, 0, 100)).toBe(120);
    expect(reveal(top, 2, 130, 100)).toBe(130);
    expect(reveal(top, 2, 130, 100, 30)).toBe(110);
  });
});
