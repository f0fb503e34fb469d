/** "1 day", "2.5 days". */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${Number(n.toFixed(1))} ${n === 1 ? one : many}`;
}

/** A number of hours, in days where it is one. */
export function hoursText(hours: number): string {
  if (hours < 1) return count(hours * 60, 'minute');
  return hours > 24 && hours % 24 === 0 ? count(hours / 24, 'day') : count(hours, 'hour');
}

/** Hours that have passed, rounded down: what is shown never looks better than what is compared. */
export function elapsedText(hours: number): string {
  const minutes = Math.floor(hours * 60);
  if (minutes < 120) return count(minutes, 'minute');
  return hours < 48 ? count(Math.floor(hours), 'hour') : count(Math.floor(hours / 24), 'day');
}
