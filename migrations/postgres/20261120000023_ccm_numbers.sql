-- Numbers that only a hand writes hold up nobody: the largest bound that a system can have made every insert fail, a turn
-- that cannot be counted up every claim, and a worker that was seen at infinity the list of all workers.

create or replace function ccm.after_task_insert() returns trigger
language plpgsql security definer set search_path = ''
as $$
declare
  full_system record;
begin
  for full_system in
    select s.max_queued from public.systems as s
    where s.id in (select a.system_id from added as a)
      and (select count(*) from (select from public.tasks as t where t.system_id = s.id and t.status = 'queued' limit s.max_queued::bigint + 1) as queued) > s.max_queued
  loop
    raise sqlstate 'PT429' using
      message = pg_catalog.format('The queue is full: %s tasks are waiting.', full_system.max_queued),
      hint = 'Try again when some have started, cancel some, or raise max_queued of the system.';
  end loop;
  return null;
end $$;

-- As the machine columns of a task that is inserted: whatever the row says.
create function ccm.keep_turn() returns trigger
language plpgsql set search_path = ''
as $$
begin
  new.turn := case when tg_op = 'UPDATE' then old.turn else 0 end;
  return new;
end $$;
revoke execute on function ccm.keep_turn from public, anon, authenticated, service_role;
update public.projects set turn = 0 where turn not between 0 and 1000000000000000;
create trigger turn_by_hand before insert or update of turn on public.projects
  for each row when (current_setting('ccm.step', true) is distinct from 'on') execute function ccm.keep_turn();

create or replace function public.workers_listed(p_system text) returns jsonb
language sql stable security definer set search_path = ''
as $$
  select coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(w) || pg_catalog.jsonb_build_object(
    'seen_at', seen.at,
    -- By the clock that wrote it: that of whoever asks may be minutes off.
    'silent_ms', greatest(0, pg_catalog.floor(extract(epoch from ccm.now() - seen.at) * 1000))) order by w.id), '[]')
  from public.workers as w
    cross join lateral (select least(greatest(w.seen_at, '1970-01-01Z'), ccm.now()) as at) as seen
  where w.system_id = p_system
$$;

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000023';
