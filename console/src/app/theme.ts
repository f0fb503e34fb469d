import { createTheme, type MantineColorsTuple } from '@mantine/core';

const signal: MantineColorsTuple = [
  '#eaf3fb',
  '#d3e3f2',
  '#a5c5e4',
  '#74a5d6',
  '#4c8aca',
  '#3379c3',
  '#2570c0',
  '#165faa',
  '#085499',
  '#004988',
];

/** Dense and quiet: colour is left for what it says. */
export const theme = createTheme({
  primaryColor: 'signal',
  colors: { signal },
  fontFamily: 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace',
  defaultRadius: 'sm',
  fontSizes: { xs: '11px', sm: '13px', md: '14px', lg: '16px', xl: '20px' },
  cursorType: 'pointer',
  respectReducedMotion: true,
  // The cross of a dialog, and of a message, has no text of its own.
  components: {
    Modal: { defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } },
    Notification: { defaultProps: { closeButtonProps: { 'aria-label': 'Close' } } },
  },
});
