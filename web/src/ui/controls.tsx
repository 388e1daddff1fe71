/** Small pieces of every page: buttons with icons, copy, search, notes, states. */
import type { ButtonHTMLAttributes, ComponentChildren } from 'preact';
import { useRef, useState } from 'preact/hooks';
import { Icon, type IconName } from './icons';

type Common = Omit<ButtonHTMLAttributes, 'icon' | 'label' | 'type' | 'disabled'>;

interface IconButtonProps extends Common {
  readonly icon: IconName;
  readonly label: string;
  readonly small?: boolean;
  readonly on?: boolean;
  /** Why it cannot be pressed now; makes it disabled, yet reachable, so that the reason can be read. */
  readonly because?: string;
}

export function IconButton({ icon, label, small, on, because, onClick, ...rest }: IconButtonProps) {
  const off = because !== undefined && because !== '';
  return (
    <button
      type="button"
      class={`btn icon${small ? ' small' : ''}${on ? ' on' : ''}`}
      aria-label={off ? `${label}: ${because}` : label}
      title={off ? `${label}: ${because}` : label}
      aria-disabled={off ? 'true' : undefined}
      onClick={off ? undefined : onClick}
      {...rest}
    >
      <Icon name={icon} />
    </button>
  );
}

interface ButtonProps extends Common {
  readonly icon?: IconName;
  readonly kind?: string;
  readonly busy?: boolean;
  readonly because?: string;
  readonly type?: 'button' | 'submit';
  readonly disabled?: boolean;
  readonly children: ComponentChildren;
}

export function Button({
  icon,
  kind,
  busy,
  because,
  type = 'button',
  children,
  onClick,
  disabled,
  ...rest
}: ButtonProps) {
  const off = because !== undefined && because !== '';
  return (
    <button
      type={type}
      class={kind ? `btn ${kind}` : 'btn'}
      title={off ? because : undefined}
      aria-disabled={off ? 'true' : undefined}
      disabled={disabled === true || busy === true}
      onClick={off ? undefined : onClick}
      {...rest}
    >
      {busy ? <Icon name="wait" spin /> : icon ? <Icon name={icon} /> : null}
      <span>{children}</span>
    </button>
  );
}

export function CopyButton({ text, label = 'Copy' }: { readonly text: () => string; readonly label?: string }) {
  const [state, setState] = useState<'idle' | 'done' | 'failed'>('idle');
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const copy = async () => {
    clearTimeout(timer.current);
    setState((await writeClipboard(text())) ? 'done' : 'failed');
    timer.current = setTimeout(() => setState('idle'), 2000);
  };
  const word = state === 'done' ? 'Copied' : state === 'failed' ? 'Select and copy by hand' : label;
  return (
    <button type="button" class="btn small" onClick={copy}>
      <Icon name={state === 'done' ? 'check' : 'copy'} />
      <span aria-live="polite">{word}</span>
    </button>
  );
}

/** Plain HTTP pages have no clipboard API; an off-screen selection still works there. */
async function writeClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'sr';
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

interface SearchProps {
  readonly value: string;
  readonly label: string;
  /** The first thing of its dialog that is typed into. */
  readonly first?: boolean;
  readonly onInput: (value: string) => void;
}

/** The filter of a page; `/` brings the focus here. */
export function Search({ value, label, first, onInput }: SearchProps) {
  return (
    <div class="search">
      <Icon name="search" />
      <input
        class="input"
        type="text"
        data-filter="yes"
        data-autofocus={first ? 'yes' : undefined}
        value={value}
        placeholder={label}
        aria-label={label}
        autocomplete="off"
        spellcheck={false}
        onInput={(e) => onInput(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key !== 'Escape') return;
          if (value !== '') onInput('');
          else e.currentTarget.blur();
          e.stopPropagation();
        }}
      />
      {value === '' ? <span class="key">/</span> : null}
    </div>
  );
}

interface SegmentProps<T extends string> {
  readonly label: string;
  readonly value: T;
  readonly options: readonly { readonly value: T; readonly text: string }[];
  readonly onChange: (value: T) => void;
}

export function Segment<T extends string>({ label, value, options, onChange }: SegmentProps<T>) {
  return (
    <fieldset class="seg plainset" aria-label={label}>
      {options.map((o) => (
        <button key={o.value} type="button" aria-pressed={o.value === value} onClick={() => onChange(o.value)}>
          {o.text}
        </button>
      ))}
    </fieldset>
  );
}

interface NoteProps {
  readonly kind: 'bad' | 'warn' | 'plain';
  readonly children: ComponentChildren;
}

export function Note({ kind, children }: NoteProps) {
  return (
    <div class={`note ${kind}`} role={kind === 'bad' ? 'alert' : undefined}>
      <Icon name={kind === 'plain' ? 'help' : kind === 'bad' ? 'alert' : 'warn'} />
      <div>{children}</div>
    </div>
  );
}

/** An API error in place of a page's content, with a way out. */
export function Failure({ message, onRetry }: { readonly message: string; readonly onRetry: () => void }) {
  return (
    <div class="empty" role="alert">
      <Icon name="alert" />
      <h2>This could not be loaded</h2>
      <p>{message}</p>
      <Button icon="reload" onClick={onRetry}>
        Try again
      </Button>
    </div>
  );
}

export function Skeleton({ rows, label }: { readonly rows: number; readonly label: string }) {
  return (
    <div class="skels" role="status" aria-label={label}>
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} class="skel bar" />
      ))}
    </div>
  );
}
