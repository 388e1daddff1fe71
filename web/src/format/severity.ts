/**
 * When a value deserves attention. Levels are said by colour and by a mark with a word, never by colour alone.
 * `calm` values stay in the colour of text: a page where all is well has no colour on it.
 */

export type Level = 'calm' | 'notice' | 'warn' | 'bad';

export const LEVEL_WORD: Readonly<Record<Level, string>> = {
  calm: '',
  notice: 'raised',
  warn: 'high',
  bad: 'very high',
};

type Thresholds = readonly [notice: number, warn: number, bad: number];

const MiB = 1024 ** 2;

const THRESHOLDS = {
  /** Percent of one core, mean per instance. */
  cpu: [50, 75, 90],
  /** Bytes, mean per instance. */
  memory: [512 * MiB, 900 * MiB, 1024 * MiB],
  /** Milliseconds; under 10 is good. */
  loop: [10, 50, 100],
  /** Milliseconds of an HTTP answer. */
  http: [200, 500, 1000],
  /** Load of one minute per core. */
  load: [0.7, 1, 1.5],
  /** Used share of a host's memory, percent. */
  host: [80, 90, 95],
} as const satisfies Record<string, Thresholds>;

export type Measure = keyof typeof THRESHOLDS;

export function level(measure: Measure, value: number | null | undefined): Level {
  if (value === null || value === undefined || !Number.isFinite(value)) return 'calm';
  const [notice, warn, bad] = THRESHOLDS[measure];
  if (value >= bad) return 'bad';
  if (value >= warn) return 'warn';
  return value >= notice ? 'notice' : 'calm';
}

/** How the life of a process is to be read at a glance. */
export type Health = 'good' | 'busy' | 'idle' | 'failed';

export function health(status: string): Health {
  switch (status) {
    case 'online':
      return 'good';
    case 'launching':
    case 'stopping':
    case 'waiting restart':
    case 'one-launch-status':
      return 'busy';
    case 'errored':
      return 'failed';
    default:
      return 'idle';
  }
}
