/* Loaded and unloaded by dlopen.c; plug_b.c has other code of the same name and place. */
long plug_work(long rounds);

long plug_work(long rounds)
{
    long sum = 0;
    for (long i = 0; i < rounds; i++)
        sum += i * 3;
    return sum;
}
