import { useEffect, useRef, useState } from 'react';

/** How long it is held, milliseconds: longer than a slip, and a decision still takes less than three seconds. */
export const HOLD_MS = 1200;
/** How long a first click of a device that cannot hold stands. */
const SECOND_CLICK_MS = 6000;

interface Props {
  readonly label: string;
  readonly hint: string;
  readonly isDisabled: boolean;
  readonly onPressed: () => void;
}

/**
 * A button that is held: by finger, mouse, or with Space or Enter. A click that nothing held (a screen reader, a switch)
 * has to come twice.
 */
export function HoldButton({ label, hint, isDisabled, onPressed }: Props) {
  const [isHolding, setHolding] = useState(false);
  const [isAsked, setAsked] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const stop = () => {
    clearTimeout(timer.current);
    timer.current = undefined;
    setHolding(false);
  };
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    if (!isAsked) return;
    const over = setTimeout(() => setAsked(false), SECOND_CLICK_MS);
    return () => clearTimeout(over);
  }, [isAsked]);
  const begin = () => {
    if (isDisabled || timer.current !== undefined) return;
    setHolding(true);
    timer.current = setTimeout(() => {
      stop();
      onPressed();
    }, HOLD_MS);
  };
  const isKey = (key: string) => key === ' ' || key === 'Enter';
  return (
    <button
      type="button"
      className="hold"
      style={{ '--hold': `${HOLD_MS}ms` } as React.CSSProperties} // A custom property is not in its type.
      aria-disabled={isDisabled}
      data-holding={isHolding || undefined}
      onPointerDown={(event) => {
        if (event.button === 0) begin();
      }}
      onPointerUp={stop}
      onPointerLeave={stop}
      onPointerCancel={stop}
      onBlur={stop}
      onContextMenu={(event) => event.preventDefault()}
      onKeyDown={(event) => {
        if (!isKey(event.key)) return;
        event.preventDefault();
        if (!event.repeat) begin();
      }}
      onKeyUp={(event) => {
        if (!isKey(event.key)) return;
        event.preventDefault();
        stop();
      }}
      onClick={({ detail }) => {
        // A pointer has a count of its clicks: that was held, or let go too soon.
        if (detail > 0 || isDisabled) return;
        if (isAsked) onPressed();
        setAsked(!isAsked);
      }}
    >
      <i aria-hidden />
      <span>
        {isAsked ? `Click once more: ${label}` : label}
        <small>{hint}</small>
      </span>
    </button>
  );
}
