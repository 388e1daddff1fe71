/** The link test: waits for a server to come, and shows how far each one that tries gets, and what is wrong. */
import { useEffect, useState } from 'preact/hooks';
import { ago } from '../format/time';
import * as api from '../link/api';
import { type Attempt, ofInterest, readAttempts, type StepState, stepsOf, titleOf, troubleOf } from '../link/attempts';
import { now } from '../store/live';
import { Note } from '../ui/controls';
import { Icon, type IconName } from '../ui/icons';

const ASK_EVERY_MS = 1000;

const STEP: Readonly<Record<StepState, { readonly icon: IconName; readonly word: string }>> = {
  done: { icon: 'ok', word: 'done' },
  now: { icon: 'wait', word: 'under way' },
  later: { icon: 'dash', word: 'not yet' },
  failed: { icon: 'alert', word: 'failed' },
  off: { icon: 'dash', word: 'not possible' },
};

export function LinkTest({ bucket }: { readonly bucket: string }) {
  const [seen, setSeen] = useState<readonly Attempt[]>([]);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    let since: number | null = null;
    let timer: ReturnType<typeof setTimeout>;
    const abort = new AbortController();
    const ask = async () => {
      try {
        const { at, attempts } = readAttempts(await api.get(`api/bucket/${bucket}/attempts`, abort.signal));
        since ??= at;
        setSeen(ofInterest(attempts, since));
        setProblem('');
      } catch (error) {
        if (abort.signal.aborted) return;
        setProblem(error instanceof Error ? error.message : 'The hub does not answer.');
      }
      timer = setTimeout(ask, ASK_EVERY_MS);
    };
    void ask();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [bucket]);
  const waiting = !seen.some((a) => a.data && !a.ended);
  return (
    <section class="linktest" aria-label="Link test">
      {problem === '' ? (
        <p class="await" role="status">
          <Icon name={waiting ? 'wait' : 'ok'} spin={waiting} />
          <span>
            {seen.length === 0
              ? 'Waiting for a server. Each step shows here as it happens.'
              : waiting
                ? 'Waiting for the first data.'
                : 'Connected. Others may follow.'}
          </span>
        </p>
      ) : (
        <Note kind="warn">{problem}</Note>
      )}
      {seen.map((a) => (
        <AttemptView key={a.id} attempt={a} />
      ))}
    </section>
  );
}

function AttemptView({ attempt: a }: { readonly attempt: Attempt }) {
  const trouble = troubleOf(a);
  const bad = a.problem !== null || (a.ended && !a.data);
  const where = [a.hostname === a.name ? '' : a.hostname, a.name === '' ? '' : a.address].filter(Boolean).join(' · ');
  return (
    <article class={`attempt${bad ? ' failed' : ''}`} data-attempt={a.name || a.address}>
      <header>
        <b class="cut">{titleOf(a)}</b>
        <span class="muted cut">
          {where}
          {a.agent === 'pm2' ? ' · pm2 agent' : ''}
        </span>
        <span class="muted when">
          {a.tries > 1 && bad ? `${a.tries} tries · ` : ''}
          {ago(a.at, now.value)}
        </span>
      </header>
      <ol>
        {stepsOf(a).map((step, i) => (
          <li key={i} class={step.state} data-step={step.state}>
            <Icon name={STEP[step.state].icon} spin={step.state === 'now'} />
            <span>
              {step.text}
              {step.hint === '' ? null : <small>{step.hint}</small>}
            </span>
            <span class="sr">{STEP[step.state].word}</span>
          </li>
        ))}
      </ol>
      {trouble === '' ? null : <p class={bad ? 'trouble bad' : 'trouble'}>{trouble}</p>}
    </article>
  );
}
