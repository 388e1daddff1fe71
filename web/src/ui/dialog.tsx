/** Dialogs: the browser's own, so focus is kept inside, Escape closes, and the page behind is inert. */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { IconButton } from './controls';

interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly kind?: 'wide' | 'drawer';
  readonly footer?: ComponentChildren;
  readonly children: ComponentChildren;
}

export function Dialog({ title, onClose, kind, footer, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    const before = document.activeElement;
    dialog?.showModal();
    dialog?.querySelector<HTMLElement>('[data-autofocus]')?.focus();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    // The click handler only serves the backdrop; the keyboard has Escape.
    // biome-ignore lint/a11y/useKeyWithClickEvents: see above
    <dialog
      ref={element}
      class={kind ? `dlg ${kind}` : 'dlg'}
      aria-labelledby={id}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
      onClick={(e) => {
        if (e.target === e.currentTarget) onClose();
      }}
    >
      <header>
        <h2 id={id}>{title}</h2>
        <IconButton icon="close" label="Close" small onClick={onClose} />
      </header>
      <div class="body">{children}</div>
      {footer ? <footer>{footer}</footer> : null}
    </dialog>
  );
}
