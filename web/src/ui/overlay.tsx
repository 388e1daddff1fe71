/** What lies above the pages, one of each kind: a confirmation, a menu, the results of commands. */
import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { dismiss, notes } from '../store/actions';
import { Button, IconButton } from './controls';
import { Dialog } from './dialog';
import { Icon, type IconName } from './icons';

interface Question {
  readonly title: string;
  readonly body: ComponentChildren;
  readonly yes: string;
  readonly danger?: boolean;
  readonly onYes: () => void;
}

const question = signal<Question | null>(null);

export function confirm(q: Question): void {
  question.value = q;
}

function Confirm() {
  const q = question.value;
  if (!q) return null;
  const close = () => {
    question.value = null;
  };
  return (
    <Dialog
      title={q.title}
      onClose={close}
      footer={
        <>
          <Button onClick={close}>Cancel</Button>
          <Button
            kind={q.danger ? 'primary danger' : 'primary'}
            onClick={() => {
              close();
              q.onYes();
            }}
          >
            {q.yes}
          </Button>
        </>
      }
    >
      <div>{q.body}</div>
    </Dialog>
  );
}

interface NumberQuestion {
  readonly title: string;
  readonly label: string;
  readonly value: number;
  readonly yes: string;
  /** What is about to happen, said while the number is chosen. */
  readonly say: (n: number) => string;
  readonly danger: (n: number) => boolean;
  readonly onYes: (n: number) => void;
}

const numberQuestion = signal<NumberQuestion | null>(null);

export function askNumber(q: NumberQuestion): void {
  numberQuestion.value = q;
}

function AskNumber() {
  const q = numberQuestion.value;
  return q ? <AskNumberDialog key={q.title} q={q} /> : null;
}

function AskNumberDialog({ q }: { readonly q: NumberQuestion }) {
  const [n, setN] = useState(q.value);
  const close = () => {
    numberQuestion.value = null;
  };
  return (
    <Dialog title={q.title} onClose={close}>
      <form
        class="stack"
        onSubmit={(e) => {
          e.preventDefault();
          close();
          q.onYes(n);
        }}
      >
        <div class="field">
          <label for="ask-number">{q.label}</label>
          <input
            id="ask-number"
            class="input"
            type="number"
            min={1}
            max={1024}
            step={1}
            value={n}
            required
            onInput={(e) => setN(Math.max(1, Math.min(1024, Math.round(e.currentTarget.valueAsNumber || 1))))}
          />
          <span class="hint" aria-live="polite">
            {q.say(n)}
          </span>
        </div>
        <div class="row end">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind={q.danger(n) ? 'primary danger' : 'primary'} disabled={n === q.value}>
            {q.yes}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

export interface MenuItem {
  readonly text: string;
  readonly icon?: IconName;
  readonly tail?: string;
  readonly danger?: boolean;
  readonly checked?: boolean;
  /** Why it cannot be picked; '' when it can. */
  readonly disabled?: string;
  readonly onPick: () => void;
}

export type MenuEntry = MenuItem | 'line' | { readonly caption: string };

interface OpenMenu {
  readonly anchor: HTMLElement;
  readonly entries: readonly MenuEntry[];
  readonly label: string;
  readonly because: string;
}

const menu = signal<OpenMenu | null>(null);

/** `because`: why none of the commands in it can be given now, said once. */
export function openMenu(anchor: HTMLElement, label: string, entries: readonly MenuEntry[], because = ''): void {
  menu.value = menu.value?.anchor === anchor ? null : { anchor, label, entries, because };
}

function Menu() {
  const open = menu.value;
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const box = element.current;
    if (!open || !box) return;
    box.showPopover();
    const a = open.anchor.getBoundingClientRect();
    const { width, height } = box.getBoundingClientRect();
    const left = a.left + width > innerWidth - 8 ? Math.max(8, a.right - width) : a.left;
    const below = a.bottom + 4;
    box.style.left = `${left}px`;
    box.style.top = `${below + height > innerHeight - 8 ? Math.max(8, a.top - height - 4) : below}px`;
    box.querySelector<HTMLElement>('[role="menuitem"],[role="menuitemradio"]')?.focus();
    const onToggle = (e: Event) => {
      if ((e as ToggleEvent).newState === 'closed' && menu.value === open) menu.value = null;
    };
    box.addEventListener('toggle', onToggle);
    return () => {
      box.removeEventListener('toggle', onToggle);
      if (box.contains(document.activeElement) || document.activeElement === document.body) open.anchor.focus();
    };
  }, [open]);
  if (!open) return null;
  const move = (step: number) => {
    const items = [...(element.current?.querySelectorAll<HTMLElement>('[role^="menuitem"]:not(:disabled)') ?? [])];
    const at = items.indexOf(document.activeElement as HTMLElement);
    items[(at + step + items.length) % items.length]?.focus();
  };
  return (
    <div
      ref={element}
      key={open.label}
      class="menu"
      popover="auto"
      role="menu"
      tabIndex={-1}
      aria-label={open.label}
      onKeyDown={(e) => {
        if (e.key === 'ArrowDown') move(1);
        else if (e.key === 'ArrowUp') move(-1);
        else if (e.key === 'Tab') menu.value = null;
        else return;
        e.preventDefault();
      }}
    >
      {open.because === '' ? null : <div class="cap">Not now: {open.because}</div>}
      {open.entries.map((entry, i) => {
        if (entry === 'line') {
          return <hr key={i} />;
        }
        if ('caption' in entry) {
          return (
            <div key={entry.caption} class="cap">
              {entry.caption}
            </div>
          );
        }
        return (
          <button
            key={entry.text}
            type="button"
            role={entry.checked === undefined ? 'menuitem' : 'menuitemradio'}
            {...(entry.checked === undefined ? {} : { 'aria-checked': entry.checked })}
            class={entry.danger ? 'danger' : undefined}
            disabled={entry.disabled !== undefined && entry.disabled !== ''}
            title={entry.disabled}
            onClick={() => {
              menu.value = null;
              entry.onPick();
            }}
          >
            {entry.icon ? <Icon name={entry.icon} /> : null}
            {/* One reason that stands for all is the menu's caption. */}
            {entry.disabled && entry.disabled !== open.because ? (
              <span class="whynot">
                {entry.text}
                <small>{entry.disabled}</small>
              </span>
            ) : (
              <span class="cut">{entry.text}</span>
            )}
            {entry.checked ? (
              <span class="tail">
                <Icon name="check" />
              </span>
            ) : entry.tail ? (
              <span class="tail">{entry.tail}</span>
            ) : null}
          </button>
        );
      })}
    </div>
  );
}

const NOTE_ICON = { pending: 'wait', ok: 'ok', failed: 'alert', timeout: 'clock' } as const;

function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite" aria-label="Results">
      {notes.value.map((n) => (
        <div key={n.id} class={`toast ${n.outcome === 'timeout' ? 'failed' : n.outcome}`} data-outcome={n.outcome}>
          <Icon name={NOTE_ICON[n.outcome]} spin={n.outcome === 'pending'} />
          <div>
            <b>{n.title}</b>
            {n.detail ? <div class="sub">{n.detail}</div> : null}
            {n.output ? <pre>{n.output}</pre> : null}
          </div>
          <IconButton icon="close" label="Dismiss" small onClick={() => dismiss(n.id)} />
        </div>
      ))}
    </div>
  );
}

export function Overlay() {
  return (
    <>
      <Confirm />
      <AskNumber />
      <Menu />
      <Toasts />
    </>
  );
}
