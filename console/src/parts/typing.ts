/** Whether keys go into a text: a box that is ticked takes none but the space. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return target.type !== 'checkbox' && target.type !== 'radio';
  return target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName);
}
