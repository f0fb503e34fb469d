import type { Page } from 'playwright-core';

/** What a person can act on, as a browser finds it: without what is off, hidden, or reached by arrow keys from its like. */
const ACTS = `[...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter((each) => !each.disabled && each.tabIndex >= 0 && each.checkVisibility({ visibilityProperty: true }))
  .filter((each) => each.getClientRects().length > 0)
  .filter((each) => !(each.type === 'radio' && !each.checked
    && document.querySelector('input[type=radio]:checked[name="' + CSS.escape(each.name) + '"]') !== null))`;

const NAME = `(each) => [each.tagName.toLowerCase(), each.getAttribute('aria-label') ?? (each.textContent.trim().slice(0, 60) || each.name || each.type || '')].join(' ')`;

/** Names of what can be acted on and is not reached by Tab alone, and of what is reached without showing it. */
export async function unreachable(
  page: Page,
): Promise<{ readonly never: string[]; readonly unseen: string[] }> {
  await page.evaluate(`window.keyboardTest = { acts: ${ACTS}, reached: new Set(), unseen: new Set() };
    document.activeElement?.blur(); window.getSelection()?.removeAllRanges(); document.body.tabIndex = -1; document.body.focus()`);
  const many = await page.evaluate<number>('window.keyboardTest.acts.length');
  for (let i = 0; i < many + 20; i++) {
    await page.keyboard.press('Tab');
    await page.evaluate(`(() => {
      const { reached, unseen } = window.keyboardTest;
      const at = document.activeElement;
      if (at === null || at === document.body) return;
      reached.add(at);
      // A radio and a check box hide behind what is drawn for them.
      const drawn = [at, at.nextElementSibling, at.parentElement, at.closest('label')].filter(Boolean);
      const isShown = drawn.some((each) => {
        const { outlineStyle, outlineWidth, boxShadow, borderColor } = getComputedStyle(each);
        return (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none' || each.matches('input, textarea, select') && borderColor !== '';
      });
      if (!isShown) unseen.add(at);
    })()`);
  }
  return page.evaluate(`({
    never: window.keyboardTest.acts.filter((each) => each.isConnected && !window.keyboardTest.reached.has(each)).map(${NAME}),
    unseen: [...window.keyboardTest.unseen].map(${NAME}),
  })`);
}
