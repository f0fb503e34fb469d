/** `text` in lines of at most `width` characters: broken at spaces, and long words after a separator. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (let word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = '';
    }
    while (word.length > width) {
      const cut = breakOf(word, width);
      lines.push(word.slice(0, cut));
      word = word.slice(cut);
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines;
}

/** Where a word that is too long is broken: after the last separator that leaves a good part of the line. */
function breakOf(word: string, width: number): number {
  for (let i = width; i > width / 3; i--) if ('/.-_:='.includes(word[i - 1] ?? '')) return i;
  return width;
}
