/** Values, states and places for sparklines, as all pages show them. */
import { health, LEVEL_WORD, level, type Measure } from '../format/severity';

interface ValueProps {
  readonly text: string;
  readonly measure: Measure;
  readonly value: number | null;
}

/** A number in the colour of its severity, with the severity in words for who cannot see it. */
export function Value({ text, measure, value }: ValueProps) {
  if (value === null) return <span class="live muted">N/A</span>;
  const l = level(measure, value);
  return (
    <span class={`live ${l}`} title={l === 'calm' ? undefined : LEVEL_WORD[l]}>
      {l === 'warn' || l === 'bad' ? <i class="mark" aria-hidden="true" /> : null}
      {text}
      {l === 'calm' ? null : <span class="sr"> ({LEVEL_WORD[l]})</span>}
    </span>
  );
}

interface SparkProps {
  readonly kind: 'cpu' | 'memory' | 'latency' | 'loop';
  readonly of: string;
  readonly value: number | null;
  readonly idle?: boolean;
}

export function Spark({ kind, of, value, idle }: SparkProps) {
  const measure: Measure = kind === 'latency' ? 'http' : kind;
  return (
    <span
      class="spk"
      data-spark={kind}
      data-key={of}
      data-level={idle ? 'idle' : level(measure, value)}
      aria-hidden="true"
    />
  );
}

interface StatusProps {
  readonly status: string;
  readonly text: string;
  /** Known only from before: the server is silent now. */
  readonly past?: boolean;
}

export function Status({ status, text, past }: StatusProps) {
  if (past) {
    return (
      <span class="status idle">
        <span class="dot idle" />
        <span class="cut">was {text}</span>
      </span>
    );
  }
  const h = health(status);
  return (
    <span class={`status ${h}`}>
      <span class={`dot ${h}`} />
      <span class="cut">{text}</span>
    </span>
  );
}
