/** The lines: windowed, following the end until the reader scrolls up. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { clockMillis, stamp } from '../../format/time';
import { count } from '../../format/units';
import { parseAnsi, stripAnsi } from '../../store/ansi';
import { type Entry, found, type LogBuffer } from '../../store/log-buffer';
import { Button, CopyButton } from '../../ui/controls';
import { Dialog } from '../../ui/dialog';
import { Icon } from '../../ui/icons';

const ROW = 20;
const OVERSCAN = 30;

interface LinesProps {
  readonly buffer: LogBuffer;
  readonly beat: number;
  readonly waiting: boolean;
  readonly filtered: boolean;
  /** Lines of more than one server: say which. */
  readonly wide: boolean;
  /** What is looked for; '' when nothing is. */
  readonly wanted: string;
}

export function Lines({ buffer, beat, waiting, filtered, wide, wanted }: LinesProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [follow, setFollow] = useState(true);
  const [, redraw] = useState(0);
  const [opened, setOpened] = useState<Entry | null>(null);
  const view = useRef({ top: 0, height: 800 });
  const mark = useRef(0);
  const cut = useRef(0);
  const lines = buffer.visible;
  const newest = lines[lines.length - 1]?.seq ?? -1;

  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    if (follow) {
      mark.current = newest;
      element.scrollTop = element.scrollHeight;
    } else if (buffer.cut > cut.current) {
      // Lines slid out above: keep what is being read where it is.
      element.scrollTop = Math.max(0, element.scrollTop - (buffer.cut - cut.current) * ROW);
    }
    cut.current = buffer.cut;
    view.current = { top: element.scrollTop, height: element.clientHeight };
  }, [beat, follow]);

  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const onScroll = () => {
      const before = view.current.top;
      view.current = { top: element.scrollTop, height: element.clientHeight };
      const atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < ROW * 1.5;
      if (atEnd) setFollow(true);
      else if (element.scrollTop < before) setFollow(false);
      redraw((n) => n + 1);
    };
    element.addEventListener('scroll', onScroll, { passive: true });
    const observer = new ResizeObserver(onScroll);
    observer.observe(element);
    return () => {
      element.removeEventListener('scroll', onScroll);
      observer.disconnect();
    };
  }, []);

  const unread = follow ? 0 : lines.length - 1 - lines.findLastIndex((l) => l.seq <= mark.current);
  const shownTop = follow ? Math.max(0, lines.length * ROW - view.current.height) : view.current.top;
  const first = Math.max(0, Math.floor(shownTop / ROW) - OVERSCAN);
  const end = Math.min(lines.length, Math.ceil((shownTop + view.current.height) / ROW) + OVERSCAN);

  return (
    <div class="logs">
      <div ref={scroller} class="lines" role="log" aria-live="off" aria-label="Log lines" tabIndex={0}>
        <div class="sizer" style={{ height: `${lines.length * ROW + 12}px` }}>
          <div class="window" style={{ transform: `translateY(${first * ROW}px)` }}>
            {lines.slice(first, end).map((l) => (
              <Row key={l.seq} entry={l} wide={wide} wanted={wanted} onOpen={setOpened} />
            ))}
          </div>
        </div>
        {lines.length === 0 ? (
          <div class="empty">
            <Icon name={waiting && !filtered ? 'wait' : 'logs'} spin={waiting && !filtered} />
            <p>
              {filtered && buffer.size > 0
                ? 'No line matches.'
                : waiting
                  ? 'Streaming. Lines appear as the apps write them.'
                  : 'Not streaming now.'}
            </p>
          </div>
        ) : null}
      </div>
      {follow ? null : (
        <Button kind="primary latest" icon="down" onClick={() => setFollow(true)}>
          {unread > 0 ? `${count(unread)} new line${unread === 1 ? '' : 's'}` : 'Latest line'}
        </Button>
      )}
      {opened ? <LineDialog entry={opened} onClose={() => setOpened(null)} /> : null}
    </div>
  );
}

interface RowProps {
  readonly entry: Entry;
  readonly wide: boolean;
  /** What is looked for: marked where it stands. */
  readonly wanted: string;
  readonly onOpen: (e: Entry) => void;
}

function Row({ entry, wide, wanted, onOpen }: RowProps) {
  if (entry.stream === 'note') {
    return (
      <div class="ln note-line">
        <span>{entry.text}</span>
      </div>
    );
  }
  return (
    // The dialog shows what the keyboard can select and copy here as well.
    // biome-ignore lint/a11y/useKeyWithClickEvents: see above
    // biome-ignore lint/a11y/noStaticElementInteractions: see above
    <div
      class={entry.stream === 'err' ? 'ln err' : 'ln'}
      data-stream={entry.stream}
      onClick={() => {
        if (getSelection()?.isCollapsed !== false) onOpen(entry);
      }}
    >
      <time>{clockMillis(entry.at)}</time>
      {wide ? <span class="who cut">{entry.server}</span> : null}
      <span class="who cut" title={entry.name}>
        {entry.pm_id} {entry.name}
      </span>
      {entry.stream === 'err' ? <span class="sr">error: </span> : null}
      <code>
        {parseAnsi(entry.text).map((s, i) =>
          s.cls === '' && wanted === '' ? (
            s.text
          ) : (
            <span key={i} class={s.cls}>
              {found(s.text, wanted).map((part, n) => (part.hit ? <mark key={n}>{part.text}</mark> : part.text))}
            </span>
          ),
        )}
      </code>
    </div>
  );
}

function pretty(text: string): string {
  const plain = stripAnsi(text);
  const start = plain.search(/[[{]/);
  if (start < 0) return plain;
  try {
    return `${plain.slice(0, start)}${start > 0 ? '\n' : ''}${JSON.stringify(JSON.parse(plain.slice(start)), null, 2)}`;
  } catch {
    return plain;
  }
}

function LineDialog({ entry, onClose }: { readonly entry: Entry; readonly onClose: () => void }) {
  const text = pretty(entry.text);
  return (
    <Dialog title={`${entry.name} #${entry.pm_id}`} kind="wide" onClose={onClose}>
      <p class="sub">
        {stamp(entry.at)} · {entry.server} · {entry.stream === 'err' ? 'errors' : 'output'}
      </p>
      <pre class="whole">{text}</pre>
      <div class="row end">
        <CopyButton text={() => text} />
      </div>
    </Dialog>
  );
}
