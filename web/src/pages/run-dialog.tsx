/** The dialog of an action: what is asked before, what it says while it runs, how it ended, for each target. */
import './run.css';
import { useEffect, useRef, useState } from 'preact/hooks';
import { bucketId } from '../store/buckets';
import { begin, type Leg, leave, legs, over, type Phase, reasonOf } from '../store/runs';
import { Button, CopyButton } from '../ui/controls';
import { Dialog } from '../ui/dialog';
import { Icon, type IconName } from '../ui/icons';
import { type Field, type Plan, plan } from './run-plan';

const PHASE: Readonly<Record<Phase, { readonly icon: IconName; readonly text: string; readonly spin?: boolean }>> = {
  waiting: { icon: 'clock', text: 'waits for its turn' },
  sent: { icon: 'wait', text: 'sent', spin: true },
  running: { icon: 'wait', text: 'running', spin: true },
  ok: { icon: 'ok', text: 'completed' },
  failed: { icon: 'alert', text: 'failed' },
  timeout: { icon: 'clock', text: 'timed out' },
};

const took = (ms: number): string => (ms < 950 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

export function RunDialog() {
  const p = plan.value;
  return p ? <Run key={p.title} plan={p} /> : null;
}

function Run({ plan: p }: { readonly plan: Plan }) {
  // Nothing to be asked or confirmed: it runs at once.
  const direct = p.field === undefined && p.body === undefined && p.choice === undefined;
  const [text, setText] = useState(p.field?.value ?? '');
  const [touched, setTouched] = useState(false);
  const [only, setOnly] = useState('');
  const [started, setStarted] = useState(direct);
  const problem = p.field?.check(text) ?? '';
  const orders = p.orders(text);
  const start = () => {
    begin(
      bucketId.value,
      p.title,
      orders.filter((o) => only === '' || o.key === only),
    );
    setStarted(true);
  };
  useEffect(() => {
    if (direct) start();
  }, []);
  const close = () => {
    plan.value = null;
    leave();
  };
  const ended = started && legs.value.every(over);

  if (started) {
    return (
      <Dialog
        title={p.title}
        kind="wide"
        onClose={close}
        footer={
          <>
            {ended && direct ? (
              <Button icon="restart" onClick={start}>
                Run again
              </Button>
            ) : null}
            <Button kind={ended ? 'primary' : ''} onClick={close}>
              {ended ? 'Close' : 'Close, let it run'}
            </Button>
          </>
        }
      >
        <Total />
        <div class="run">
          {legs.value.map((leg) => (
            <LegView key={leg.key} leg={leg} alone={legs.value.length === 1} />
          ))}
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title={p.title} onClose={close}>
      <form
        class="stack"
        onSubmit={(e) => {
          e.preventDefault();
          setTouched(true);
          if (problem === '') start();
        }}
      >
        {p.body}
        {p.choice && orders.length > 1 ? (
          <div class="field">
            <label for="run-target">{p.choice.one}</label>
            <select id="run-target" class="input" value={only} onChange={(e) => setOnly(e.currentTarget.value)}>
              <option value="">{p.choice.all}</option>
              {orders.map((o) => (
                <option key={o.key} value={o.key}>
                  {o.label}
                </option>
              ))}
            </select>
          </div>
        ) : null}
        {p.field ? <FieldView field={p.field} text={text} problem={touched ? problem : ''} onInput={setText} /> : null}
        <div class="row end">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind={p.danger ? 'primary danger' : 'primary'}>
            {p.yes}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

interface FieldViewProps {
  readonly field: Field;
  readonly text: string;
  readonly problem: string;
  readonly onInput: (text: string) => void;
}

function FieldView({ field, text, problem, onInput }: FieldViewProps) {
  const shared = {
    id: 'run-field',
    class: 'input',
    value: text,
    placeholder: field.placeholder,
    spellcheck: false,
    autocomplete: 'off',
    'aria-invalid': problem !== '',
    'aria-describedby': 'run-hint',
    'data-autofocus': 'yes',
  } as const;
  return (
    <div class="field">
      <label for="run-field">{field.label}</label>
      {field.long ? (
        <textarea {...shared} rows={4} onInput={(e) => onInput(e.currentTarget.value)} />
      ) : (
        <input {...shared} type="text" onInput={(e) => onInput(e.currentTarget.value)} />
      )}
      <span id="run-hint" class={problem === '' ? 'hint' : 'hint bad'} aria-live="polite">
        {problem || field.hint}
      </span>
    </div>
  );
}

/** With many targets: how many are done. */
function Total() {
  const all = legs.value;
  if (all.length < 2) return null;
  const n = (phase: Phase) => all.filter((leg) => leg.phase === phase).length;
  const bad = n('failed') + n('timeout');
  return (
    <p class="sub" role="status">
      <b>
        {n('ok')} of {all.length}
      </b>{' '}
      completed{bad > 0 ? <b class="bad">, {bad} failed</b> : null}
    </p>
  );
}

const STEPS = ['Sent', 'Running', 'Done'] as const;

function LegView({ leg, alone }: { readonly leg: Leg; readonly alone: boolean }) {
  const phase = PHASE[leg.phase];
  const bad = leg.phase === 'failed' || leg.phase === 'timeout';
  const [open, setOpen] = useState(alone);
  const shown = open || bad;
  const reached = over(leg) ? 3 : leg.phase === 'running' ? 2 : leg.phase === 'sent' ? 1 : 0;
  const quiet = leg.said === '' && leg.result === '' && leg.error === '';
  return (
    <section class={`leg ${bad ? 'failed' : leg.phase}`} data-leg={leg.label} data-phase={leg.phase}>
      <button type="button" class="leghead" aria-expanded={shown} onClick={() => setOpen(!open)}>
        <Icon name={phase.icon} spin={phase.spin === true} />
        <b class="cut">{leg.label}</b>
        <span class="steps" aria-hidden="true">
          {STEPS.map((step, i) => (
            <i key={step} class={i < reached ? 'on' : ''}>
              {step}
            </i>
          ))}
        </span>
        <span class="legstate">
          {phase.text}
          {over(leg) && leg.tookMs > 0 ? ` · ${took(leg.tookMs)}` : ''}
        </span>
      </button>
      {shown ? (
        <div class="legbody">
          {leg.cut ? <p class="hint">Not all of what it said is kept here.</p> : null}
          {leg.said === '' ? null : <Console text={leg.said} label={`What ${leg.label} says`} />}
          {leg.result === '' ? null : (
            <div class="returned">
              <span class="lbl">Returned</span>
              <CopyButton text={() => leg.result} />
              <pre data-test="result">{leg.result}</pre>
            </div>
          )}
          {leg.error === '' ? null : (
            <pre class="legerror" role="alert">
              {reasonOf(leg)}
            </pre>
          )}
          {quiet ? (
            <p class="hint">{over(leg) ? 'Done; it had nothing to say.' : 'Waiting for what it says…'}</p>
          ) : null}
        </div>
      ) : null}
    </section>
  );
}

/** Output that is followed to its end, unless the reader has scrolled up. */
function Console({ text, label }: { readonly text: string; readonly label: string }) {
  const box = useRef<HTMLPreElement>(null);
  const stick = useRef(true);
  useEffect(() => {
    if (box.current && stick.current) box.current.scrollTop = box.current.scrollHeight;
  }, [text]);
  return (
    <pre
      ref={box}
      class="console"
      role="log"
      aria-label={label}
      data-test="said"
      tabIndex={0}
      onScroll={(e) => {
        const el = e.currentTarget;
        stick.current = el.scrollTop + el.clientHeight >= el.scrollHeight - 8;
      }}
    >
      {text}
    </pre>
  );
}
