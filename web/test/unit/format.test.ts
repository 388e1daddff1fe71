import { describe, expect, it } from 'vitest';
import { health, level } from '../../src/format/severity';
import { ago, span, spanWords } from '../../src/format/time';
import { bytes, count, decimal, metric, millis, numeric, percent } from '../../src/format/units';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

function check<T>(f: (v: T) => string, cases: readonly (readonly [T, string])[]) {
  for (const [value, text] of cases) expect(f(value), String(value)).toBe(text);
}

describe('numbers', () => {
  it('counts with commas', () =>
    check(count, [
      [0, '0'],
      [5436, '5,436'],
      [1234567, '1,234,567'],
      [null, 'N/A'],
      [Number.NaN, 'N/A'],
    ]));

  it('cuts decimals that say nothing', () => {
    expect(decimal(1, 1)).toBe('1');
    expect(decimal(1.25, 1)).toBe('1.3');
    expect(decimal(-0.04, 1)).toBe('0');
    expect(decimal(-1234.5, 1)).toBe('-1,234.5');
  });

  it('writes percent', () =>
    check(percent, [
      [37, '37%'],
      [0, '0%'],
      [0.44, '0.4%'],
      [9.96, '10%'],
      [99.6, '100%'],
      [840, '840%'],
      [null, 'N/A'],
    ]));

  it('writes bytes', () =>
    check(bytes, [
      [0, '0B'],
      [512, '512B'],
      [827 * MiB, '827MiB'],
      [GiB, '1GiB'],
      [1.24 * GiB, '1.2GiB'],
      [126 * GiB, '126GiB'],
      [1023.6 * MiB, '1GiB'],
      [1023.4 * MiB, '1,023MiB'],
      [null, 'N/A'],
    ]));

  it('writes milliseconds', () =>
    check(millis, [
      [0.26, '0.26ms'],
      [12.34, '12.3ms'],
      [530.4, '530ms'],
      [9999, '9,999ms'],
      [12_400, '12.4s'],
      [null, 'N/A'],
    ]));

  it('writes what apps report, units and all', () => {
    expect(metric('12', 'req/min')).toBe('12req/min');
    expect(metric(0, 'req/min')).toBe('0req/min');
    expect(metric('0.26', 'ms')).toBe('0.26ms');
    expect(metric('84.1', 'MiB')).toBe('84MiB');
    expect(metric(4, '')).toBe('4');
    expect(metric(5436, '')).toBe('5,436');
    expect(metric(0.1234, '')).toBe('0.123');
    expect(metric('ready', '')).toBe('ready');
    expect(metric('', 'ms')).toBe('N/A');
    expect(metric(undefined, 'ms')).toBe('N/A');
    expect(metric('x'.repeat(1000), '')).toHaveLength(64);
  });

  it('reads numbers out of metric values', () => {
    expect(numeric('0.41')).toBe(0.41);
    expect(numeric('12ms')).toBe(12);
    expect(numeric('')).toBeNull();
    expect(numeric('ready')).toBeNull();
    expect(numeric(undefined)).toBeNull();
  });
});

describe('spans', () => {
  const h = 3_600_000;
  it('has at most two units', () =>
    check(span, [
      [0, '0s'],
      [8_000, '8s'],
      [60_000, '1m'],
      [725_000, '12m 5s'],
      [3 * h, '3h'],
      [3 * h + 720_000, '3h 12m'],
      [99 * h, '4d 3h'],
      [2400 * h, '100d'],
      [-5, '0s'],
    ]));
  it('has words', () =>
    check(spanWords, [
      [1000, '1 second'],
      [240_000, '4 minutes'],
      [h, '1 hour'],
      [96 * h, '4 days'],
    ]));
  it('has ages', () => {
    expect(ago(1_000_000 - 240_000, 1_000_000)).toBe('4 minutes ago');
    expect(ago(999_500, 1_000_000)).toBe('just now');
    expect(ago(1_000_500, 1_000_000)).toBe('just now');
    expect(ago(0, 1_000_000)).toBe('never');
  });
});

describe('severity', () => {
  it('has its steps', () => {
    expect([0, 49.9, 50, 75, 90].map((v) => level('cpu', v))).toEqual(['calm', 'calm', 'notice', 'warn', 'bad']);
    expect([920 * MiB, GiB].map((v) => level('memory', v))).toEqual(['warn', 'bad']);
    expect([9.9, 10].map((v) => level('loop', v))).toEqual(['calm', 'notice']);
    expect(level('cpu', null)).toBe('calm');
    expect(level('cpu', Number.NaN)).toBe('calm');
  });
  it('tells states apart', () => {
    expect(['online', 'launching', 'stopped', 'errored', 'nonsense'].map(health)).toEqual([
      'good',
      'busy',
      'idle',
      'failed',
      'idle',
    ]);
  });
});
