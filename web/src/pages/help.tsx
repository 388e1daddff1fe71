/** Keys of the dashboard and the questions people ask first. */
import './help.css';
import { useEffect, useState } from 'preact/hooks';
import * as api from '../link/api';
import { Button, CopyButton, Search } from '../ui/controls';
import { Dialog } from '../ui/dialog';
import { helpOpen, KEYS } from '../ui/keys';
import { matching, search, type Topic } from './topics';

/** Text with `code` marks. */
function Marked({ text }: { readonly text: string }) {
  return <>{text.split('`').map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part))}</>;
}

function Topics({ list }: { readonly list: readonly Topic[] }) {
  return (
    <div class="topics" data-test="topics">
      {list.map((t) => (
        <div key={t.id} data-topic={t.id}>
          <h4>{t.title}</h4>
          <p class="sub">
            <Marked text={t.text} />
          </p>
        </div>
      ))}
    </div>
  );
}

/** What is wrong, in one's own words: the topics that match come before the way to the people who help. */
function Feedback({ onBack }: { readonly onBack: () => void }) {
  const [text, setText] = useState('');
  const [about, setAbout] = useState<{ version: string; support: string } | null>(null);
  useEffect(() => {
    const read = async () => {
      try {
        const answer = (await api.get('api/about')) as { version?: unknown; support_url?: unknown } | null;
        setAbout({ version: String(answer?.version ?? ''), support: String(answer?.support_url ?? '') });
      } catch {
        // Without an answer there is nowhere to send it; the topics are here.
        setAbout({ version: '', support: '' });
      }
    };
    void read();
  }, []);
  const topics = matching(text);
  const report = `${text.trim()}\n\nPilothouse ${about?.version ?? ''}, ${navigator.userAgent}`;
  return (
    <section class="feedback">
      <div class="field">
        <label for="feedback-text">What is wrong, or missing?</label>
        <textarea
          id="feedback-text"
          class="input"
          rows={4}
          maxLength={4000}
          value={text}
          data-autofocus="yes"
          onInput={(e) => setText(e.currentTarget.value)}
        />
      </div>
      {topics.length > 0 ? (
        <>
          <h3>This may help</h3>
          <Topics list={topics} />
        </>
      ) : null}
      <div class="row end">
        <Button onClick={onBack}>Back to the help</Button>
        {text.trim() === '' ? null : <CopyButton text={() => report} label="Copy the report" />}
        {about?.support ? (
          <a class="btn primary" href={about.support} target="_blank" rel="noreferrer" data-test="support">
            Open the support page
          </a>
        ) : null}
      </div>
      {about && about.support === '' ? (
        <p class="sub">
          The operator of this hub has not said where reports go (<code>--support-url</code>).
        </p>
      ) : null}
    </section>
  );
}

export function Help() {
  const [filter, setFilter] = useState('');
  const [feedback, setFeedback] = useState(false);
  const needle = filter.trim();
  const topics = search(filter);
  return (
    <Dialog
      title="Help"
      kind="wide"
      onClose={() => {
        helpOpen.value = false;
      }}
    >
      {feedback ? (
        <Feedback onBack={() => setFeedback(false)} />
      ) : (
        <>
          <Search value={filter} label="Search the help" onInput={setFilter} first />
          {needle === '' ? (
            <section>
              <h3>Keys</h3>
              <dl class="keys">
                {KEYS.map(([keys, what]) => (
                  <div key={keys}>
                    <dt>{keys.split(' ').map((k) => (k === 'then' ? ' then ' : <kbd key={k}>{k}</kbd>))}</dt>
                    <dd>{what}</dd>
                  </div>
                ))}
              </dl>
            </section>
          ) : null}
          <section>
            <h3>Questions</h3>
            <Topics list={topics} />
            {topics.length === 0 ? <p class="muted">Nothing matches.</p> : null}
          </section>
          <p class="row end">
            <Button icon="help" onClick={() => setFeedback(true)}>
              Something is wrong, or missing
            </Button>
          </p>
        </>
      )}
    </Dialog>
  );
}
