-- Two tasks that ended at once, by a cancel or a failure, could wait for each other's dependents, until PostgreSQL refused
-- one of them as a deadlock: each locked them level by level. All are locked first, and by everybody in one order.
create or replace function ccm.cancel_dependents(p_system text, p_ended text[]) returns void
language plpgsql set search_path = ''
as $$
declare
  ended text[] := p_ended;
  doomed text[];
begin
  with recursive dependent as (
    select e.id collate "C" from unnest(p_ended) as e (id)
    union
    select t.id from dependent as d
      join public.tasks as t on t.depends_on @> array[d.id] and t.depends_on <> '{}'
        and t.system_id = p_system and t.status = 'queued'
  )
  select array_agg(d.id) into doomed from dependent as d where d.id <> all (p_ended);
  if doomed is null then return; end if;
  perform from public.tasks as t
  where t.system_id = p_system and t.id = any (doomed) and t.status = 'queued' order by t.id for update;
  -- With those that came while it waited.
  while cardinality(ended) > 0 loop
    with waiting as (
      select distinct on (t.id) t.id,
        pg_catalog.format('Task %s, which it depends on, %s.', e.id, ccm.ended_as(e.status)) as reason
      from public.tasks as e
        join public.tasks as t on t.depends_on @> array[e.id] and t.depends_on <> '{}'
          and t.system_id = e.system_id and t.status = 'queued'
      where e.system_id = p_system and e.id = any (ended)
      order by t.id, e.id
    ),
    cancelled as (
      update public.tasks as t
      set status = 'cancelled', cancel_requested = true, cancel_reason = waiting.reason, error = waiting.reason,
        finished_at = ccm.now()
      from waiting
      where t.system_id = p_system and t.id = waiting.id and t.status = 'queued'
      returning t.id
    )
    select coalesce(array_agg(c.id), '{}') into ended from cancelled as c;
  end loop;
end $$;

create or replace function public.queue_version() returns text
language sql immutable set search_path = ''
return '20261120000024';
