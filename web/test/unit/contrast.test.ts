import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

/** WCAG 2.2 contrast of the colour tokens, computed from the token file in both themes. */

const css = readFileSync(new URL('../../src/ui/tokens.css', import.meta.url), 'utf8');
const tokens = new Map<string, { light: string; dark: string }>();
for (const m of css.matchAll(/--([\w-]+):\s*light-dark\((#[0-9a-f]{6}),\s*(#[0-9a-f]{6})\)/g)) {
  const [, name = '', light = '', dark = ''] = m;
  tokens.set(name, { light, dark });
}

function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5]
    .map((i) => Number.parseInt(hex.slice(i, i + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p) as [number, number];
  return (x + 0.05) / (y + 0.05);
}

const TEXT = 4.5;
const GRAPHIC = 3;
const grounds = ['page', 'panel', 'raised', 'hover'];
const pairs: [ink: string, ground: string, least: number][] = [];
const add = (inks: readonly string[], on: readonly string[], least: number) => {
  for (const ink of inks) for (const ground of on) pairs.push([ink, ground, least]);
};

add(['text', 'text-2', 'text-3', 'accent', 'good', 'notice', 'warn', 'bad'], grounds, TEXT);
add(['text', 'text-2', 'text-3', 'bad'], ['sunken'], TEXT);
add(
  Array.from({ length: 16 }, (_, i) => `ansi-${i}`),
  ['sunken'],
  TEXT,
);
add(['on-accent'], ['accent'], TEXT);
add(['raised'], ['bad'], TEXT);
add(['accent'], ['accent-soft'], TEXT);
add(['good', 'text'], ['good-soft'], TEXT);
add(['warn', 'text', 'text-2'], ['warn-soft'], TEXT);
add(['bad', 'text'], ['bad-soft'], TEXT);
add(
  Array.from({ length: 8 }, (_, i) => `c${i + 1}`),
  ['panel', 'page'],
  GRAPHIC,
);
add(['field-line', 'focus'], ['page', 'panel', 'raised'], GRAPHIC);

describe('contrast of the tokens', () => {
  it('finds the tokens', () => {
    expect(tokens.size).toBeGreaterThan(40);
    for (const [ink, ground] of pairs) {
      expect(tokens.has(ink), ink).toBe(true);
      expect(tokens.has(ground), ground).toBe(true);
    }
  });

  it('knows the extremes', () => {
    expect(contrast('#000000', '#ffffff')).toBeCloseTo(21, 5);
    expect(contrast('#777777', '#777777')).toBe(1);
  });

  for (const theme of ['light', 'dark'] as const) {
    it(`meets AA in ${theme}`, () => {
      const low = pairs
        .map(([ink, ground, least]) => {
          const ratio = contrast(tokens.get(ink)?.[theme] ?? '', tokens.get(ground)?.[theme] ?? '');
          return { pair: `${ink} on ${ground}`, ratio: Math.round(ratio * 100) / 100, least };
        })
        .filter((p) => p.ratio < p.least);
      expect(low).toEqual([]);
    });
  }
});
